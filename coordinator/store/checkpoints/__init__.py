"""The catalogue of checkpoints: what is committed, where its segments lie, in which state."""

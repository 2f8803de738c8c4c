"""The requests of a node, one module each."""

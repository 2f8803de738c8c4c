"""One-off commands in simulated worlds."""

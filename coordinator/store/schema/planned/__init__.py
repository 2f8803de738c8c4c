"""The table of planned changes, and the rights on it."""

"""The tables of operations, the rights on them, and the functions that people call."""

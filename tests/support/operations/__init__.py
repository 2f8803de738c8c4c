"""A type of operation for tests, and what its runs wrote down."""

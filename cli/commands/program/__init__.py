"""Commands for the programs that a node runs."""

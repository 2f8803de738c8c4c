"""Commands about the node of a unit."""

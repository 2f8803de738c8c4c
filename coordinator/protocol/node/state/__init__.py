"""State of a node between two events."""

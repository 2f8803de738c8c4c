"""The knowledge of a node between two events."""

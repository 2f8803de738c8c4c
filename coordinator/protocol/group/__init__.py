"""Consequences of a group's record: placement, and the observer's decisions."""

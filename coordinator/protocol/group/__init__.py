"""Consequences of a group's record: placement of tasks, and the observer's decisions."""

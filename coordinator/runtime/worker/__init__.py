"""The worker of a node: a process that claims and runs subtasks of operations."""

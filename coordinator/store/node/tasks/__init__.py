"""The requests of a node for the tasks of its group."""

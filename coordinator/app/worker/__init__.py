"""The worker's process, and the types of operations that it finds."""

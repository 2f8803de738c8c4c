"""Explanation of a group or a task in sentences: why this node, why nobody, what happens next."""

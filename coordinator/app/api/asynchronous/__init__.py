"""Tokens for the tasks of an event loop."""

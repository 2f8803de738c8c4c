"""The in-process API."""

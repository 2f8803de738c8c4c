"""`coord task` and its commands."""

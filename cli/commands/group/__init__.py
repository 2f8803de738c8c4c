"""`coord group` and its commands."""

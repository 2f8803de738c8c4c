"""`coord observer` and its commands."""

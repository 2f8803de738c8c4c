"""`coord checkpoint`."""

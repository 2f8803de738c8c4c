"""Decisions about the program of a standby that waits behind a gate."""

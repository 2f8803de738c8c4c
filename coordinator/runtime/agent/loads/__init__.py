"""The state of a token on its way to a program: read beside the heartbeats, and kept in a file."""

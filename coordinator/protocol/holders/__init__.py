"""Tokens that one process holds for its own code, all under one session: rules U."""

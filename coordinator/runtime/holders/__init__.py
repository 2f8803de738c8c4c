"""Tokens that code in this process holds."""

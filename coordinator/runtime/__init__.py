"""Loops and processes of one node."""

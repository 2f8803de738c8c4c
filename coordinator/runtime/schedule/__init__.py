"""Runs a program at the moments of a schedule."""

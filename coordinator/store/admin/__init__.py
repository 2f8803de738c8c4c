"""Queries and changes that people make with commands."""

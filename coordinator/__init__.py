"""Exactly one active instance of a program among many nodes, over PostgreSQL."""

__version__ = "0.1.0"

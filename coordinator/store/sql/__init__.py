"""Composition, commit and reading of statements."""

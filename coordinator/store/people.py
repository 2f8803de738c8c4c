"""Where the views for people are."""

from __future__ import annotations


def people_schema(schema: str) -> str:
    """Return `sys`, or, beside any schema but `public`, a `sys` of its own."""
    return "sys" if schema == "public" else f"{schema}_sys"

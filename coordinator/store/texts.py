"""Texts of others, made fit for a driver and a database."""

from __future__ import annotations


def clean_text(text: str, letters_max: int | None = None) -> str:
    """Return a text that any UTF-8 database can keep; what it cannot is shown as an escape.

    A lone surrogate stands for a byte of a file name that is not UTF-8, and NUL ends a text for
    PostgreSQL.
    """
    cleaned = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return cleaned if letters_max is None else cleaned[:letters_max]


def ascii_text(text: str) -> str:
    """Return a text for a database whose encoding has none of the letters that it lacks."""
    return text.encode("ascii", "backslashreplace").decode()

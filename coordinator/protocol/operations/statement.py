"""Statements about operations as values, and their text.

The reverse, from text to value, needs a parser: coordinator/app/admin/operations/parse.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from coordinator.protocol.operations.types import Location, Scalar, Value

#: A name that needs no quotes.
BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
#: Words that are keywords wherever a name may stand; as a name they are quoted.
KEYWORDS = ("CREATE", "TASK", "TYPE", "LOCATION", "OPTIONS", "SYSTEM", "CLUSTER", "NODE", "CANCEL")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    """CREATE TASK. place: the name of a cluster or a node; None for SYSTEM."""

    type: str
    location: Location = Location.SYSTEM
    place: str | None = None
    options: tuple[tuple[str, Value], ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CancelTask:
    """CANCEL TASK. ref: the name of an operation, its id, or the id of one of its subtasks."""

    ref: str


Statement = CreateTask | CancelTask


def text_of(statement: Statement) -> str:
    """Return the statement's text, without the semicolon."""
    if isinstance(statement, CancelTask):
        return f"CANCEL TASK {quoted(statement.ref)}"
    words = ["CREATE TASK"]
    if statement.name is not None:
        words.append(quoted(statement.name))
    words.append(f"TYPE {statement.type}")
    if statement.place is None:
        words.append(f"LOCATION {statement.location}")
    else:
        words.append(f"LOCATION {statement.location} {quoted(statement.place)}")
    if statement.options:
        words.append("OPTIONS " + options_text(statement.options))
    return " ".join(words)


def options_text(options: tuple[tuple[str, Value], ...]) -> str:
    """Return options as they stand in a statement."""
    return ", ".join(f"{key} = {_value(value)}" for key, value in options)


def quoted(text: str) -> str:
    """Return a text in quotes."""
    return "'" + text.replace("'", "''") + "'"


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)

"""Counts the round trips of a request, in the driver's own record of the messages."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import TypeVar

from tests.conformance.worlds import Node

T = TypeVar("T")


def counted(node: Node, call: Callable[[], T]) -> tuple[T, int]:
    """Make a call and count how often the server said that it waits for the next message."""
    pgconn = node.connection._connection.pgconn  # type: ignore[attr-defined]
    with tempfile.TemporaryFile("w+") as trace:
        pgconn.trace(trace.fileno())
        result = call()
        pgconn.untrace()
        trace.seek(0)
        return result, sum("\tB\t" in line and "\tReadyForQuery" in line for line in trace)

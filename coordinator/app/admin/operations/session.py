"""One connection of `coord sql` and `coord operation`: statements, looks, waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coordinator.app.admin.operations.script import Piece
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import DatabaseUnreachableError, StatementError
from coordinator.protocol.operations.statement import CancelTask
from coordinator.store.operations.people import Operations

#: States in which an operation is over.
FINISHED = ("COMPLETE", "COMPLETE_WITH_ERRORS", "FAILED", "CANCELLED")
#: Seconds between two looks at an operation that is waited for.
LOOK_S = 0.5
#: Looks in a row without an answer after which a wait ends.
MISSED_MAX = 60
#: Of a longer line an error shows so much, and so much of that before its place.
EXCERPT_MAX, EXCERPT_BEFORE = 200, 60

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A statement that was carried out; `verb`: "CREATE TASK" or "CANCEL TASK"."""

    verb: str
    id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Progress:
    """An operation as a wait sees it, with the subtasks that run."""

    row: Row
    running: list[Row]


class Session:
    """One person's connection; it connects again when it was lost."""

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._arguments = (resolved.conninfo, schema, resolved.label, timeout_s)
        self._store: Operations | None = Operations(*self._arguments)

    def close(self) -> None:
        """Close the connection."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def store(self) -> Operations:
        """The connection; a new one after it was lost."""
        if self._store is None:
            self._store = Operations(*self._arguments)
        return self._store

    def run(self, piece: Piece) -> Accepted | Answer:
        """Carry out one statement.

        Errors: StatementError with its place in the piece; DatabaseRefusedError.
        """
        try:
            if piece.is_query:
                return Answer(*self.store.select(piece.text))
            from coordinator.app.admin.operations.parse import parse

            parsed = parse(piece.text)
            verb = "CANCEL TASK" if isinstance(parsed.statement, CancelTask) else "CREATE TASK"
            return Accepted(verb, self.store.run(parsed.statement, parsed.at))
        except DatabaseUnreachableError:
            self.close()
            raise

    def wait(self, ref: str) -> Iterator[Progress]:
        """Yield the operation as it gets on, until it is finished.

        Errors: NotFoundError; DatabaseUnreachableError after MISSED_MAX looks without an answer.
        """
        pause = threading.Event()
        missed = 0
        while True:
            try:
                row = self.store.task(ref)
                running = [each for each in self.store.subtasks(ref) if each["state"] == "RUNNING"]
                missed = 0
            except DatabaseUnreachableError:
                self.close()
                missed += 1
                if missed > MISSED_MAX:
                    raise
            else:
                yield Progress(row, running)
                if row["state"] in FINISHED:
                    return
            pause.wait(LOOK_S)


def lines_of(error: StatementError, piece: Piece) -> list[str]:
    """Return an error as psql shows one: state and message, the line with its place, the hint."""
    lines = [f"ERROR: {error.sqlstate}: {error.message}"]
    if error.position is not None:
        before = piece.text[: error.position]
        number = before.count("\n") + 1
        line = piece.text.split("\n")[number - 1]
        column = len(before) - (before.rfind("\n") + 1)
        prefix = f"LINE {number}: "
        begin = column - EXCERPT_BEFORE if len(line) > EXCERPT_MAX else 0
        if begin > 0:
            prefix, line, column = prefix + "...", line[begin:], EXCERPT_BEFORE
        if len(line) > EXCERPT_MAX:
            line = line[:EXCERPT_MAX] + "..."
        lines += [prefix + line.replace("\t", " "), " " * (len(prefix) + column) + "^"]
    if error.hint:
        lines.append(f"HINT: {error.hint}")
    return lines

"""Following a planned change until it has happened, with one live line on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.errors import CONTROLS
from coordinator.cli.shared import Shared, named_group
from coordinator.errors import ConditionFalseError, CoordError, DatabaseUnreachableError

if TYPE_CHECKING:
    from coordinator.app.admin.planned import PlannedChanges, PlannedLine
    from coordinator.app.config.settings import NodeSettings

T = TypeVar("T")

#: Seconds between two looks: a handover takes some round trips and the program's own stop.
LOOK_EVERY_S = 0.1
LINE_WIDTH = 79
#: State of a setting that every live node has.
IN_FORCE = "in force"
#: Names of changes in sentences, where they differ from the kind in its row.
NOUNS: dict[str, str] = {
    "resign": "resignation",
    "pause work": "pause of work",
    "pause takeovers": "pause of takeovers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedConnection:
    """A command's connection, its group, and its options; each request has its own time-out."""

    changes: PlannedChanges
    group: str
    options: Shared
    label: str
    settings: NodeSettings

    def bounded(self, request: Callable[[], T]) -> T:
        """Make one request within the time-out."""
        with within(self.options.timeout_s, self.label):
            return request()


@contextmanager
def open_planned(options: Shared, named: str | None = None) -> Iterator[PlannedConnection]:
    """Open the planned changes of a group."""
    from coordinator.app.admin.planned import PlannedChanges

    settings = database_settings_of(options)
    group = named_group(options, named) or settings.group_id
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        changes = PlannedChanges(
            resolved, schema=settings.database.schema, timeout_s=options.timeout_s
        )
    try:
        yield PlannedConnection(
            changes=changes, group=group, options=options, label=resolved.label, settings=settings
        )
    finally:
        changes.close()


def followed(
    connection: PlannedConnection,
    number: int,
    done: Callable[[PlannedLine], str],
    *,
    stands: bool = False,
) -> PlannedLine:
    """Wait until a change has an outcome, or what it asks for is so; return it as it is then.

    done:   what is still waited for, for the live line; empty: it is so.
    stands: the change goes on once it is so; one that was ended before never came to that.
    Errors: ConditionFalseError for a change that was refused, ran out, or was cancelled or ended;
            DatabaseUnreachableError, which says that the change goes on without the command.
    """
    began, pause, line = time.monotonic(), threading.Event(), LiveLine(connection.options)
    try:
        while True:
            change, waiting = connection.bounded(lambda: _looked(connection, number, done))
            if not waiting:
                break
            line.show(f"{connection.group}: {waiting} ({time.monotonic() - began:.0f} s)")
            pause.wait(LOOK_EVERY_S)
    except DatabaseUnreachableError as error:
        raise DatabaseUnreachableError(
            f"{error}; {connection.group}: change {number} was asked for, and goes on without this"
            " command: `coord status` shows it"
        ) from error
    finally:
        line.clear()
    if not change.is_open and change.state != IN_FORCE and (stands or change.state != "done"):
        raise failed(change)
    return change


def _looked(
    connection: PlannedConnection, number: int, done: Callable[[PlannedLine], str]
) -> tuple[PlannedLine, str]:
    """Return a change, and what it still waits for."""
    change = connection.changes.look(number)
    return change, done(change) if change.is_open else ""


def noun(change: PlannedLine) -> str:
    """Return what a change is called in a sentence."""
    return NOUNS.get(change.kind, change.kind)


def failed(change: PlannedLine) -> CoordError:
    """Return the error for a change that did not come to its end."""
    why = f": {change.outcome_reason}" if change.outcome_reason else ""
    if change.state == "done":
        why = f" before all had stopped (by {change.ended_by}){why}"
        return ConditionFalseError(f"{change.group}: the {noun(change)} was ended{why}")
    return ConditionFalseError(f"{change.group}: the {noun(change)} is {change.state}{why}")


class LiveLine:
    """One line on stderr that is written over; nothing where stderr is no terminal."""

    def __init__(self, options: Shared) -> None:
        self._shows = sys.stderr.isatty() and not options.quiet
        self._shown = False

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._shows:
            line = text.translate(CONTROLS)[:LINE_WIDTH].ljust(LINE_WIDTH)
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
            self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            print(f"\r{' ' * LINE_WIDTH}\r", end="", file=sys.stderr, flush=True)
            self._shown = False

"""The connection of these commands, and the wait for an operation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.shared import Output, Shared

if TYPE_CHECKING:
    from coordinator.app.admin.operations.session import Session

#: Exit code for an operation that is not COMPLETE.
NOT_COMPLETE = 3

Ref = Annotated[
    str, typer.Argument(metavar="REF", help="Name or id of the operation, or of a subtask.")
]


@contextmanager
def open_session(options: Shared) -> Iterator[Session]:
    """Connect within the time-out; each statement has the time-out for itself."""
    from coordinator.app.admin.operations.session import Session

    settings = database_settings_of(options)
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        session = Session(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
    try:
        yield session
    finally:
        session.close()


def waited(options: Shared, session: Session, ref: str) -> int:
    """Wait for an operation and show its progress; print how it ended, and return the exit code."""
    from coordinator.cli.render.operations.progress import follow

    row: dict[str, Any] = {}
    quiet = options.quiet or options.output is not Output.TABLE
    for progress in follow(session.wait(ref), sys.stderr, quiet=quiet):
        row = progress.row
    return finished(options, row)


def finished(options: Shared, row: dict[str, Any]) -> int:
    """Print how an operation ended; return the exit code."""
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.operations.tables import ended_line, task_document

    document = task_document(row)
    emit(
        options,
        table=lambda: print(ended_line(row)),
        rows=lambda: [("id", "state"), (str(row["id"]), row["state"])],
        document=document,
    )
    return 0 if row["state"] == "COMPLETE" else NOT_COMPLETE

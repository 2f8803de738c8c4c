"""Answers of the commands that ask for planned changes: one sentence, or the change as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.cli.commands.planned.following import PlannedConnection
from coordinator.cli.shared import Output

if TYPE_CHECKING:
    from coordinator.app.admin.planned import PlannedLine


def answer(connection: PlannedConnection, change: PlannedLine, sentence: str) -> None:
    """Print what was done, or the change as it is now in the requested format."""
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.units import safe

    options = connection.options
    if options.output is Output.TABLE:
        if not options.quiet:
            print(safe(f"{connection.group}: {sentence}"))
        return
    # The kind of the document itself is PlannedChange.
    named = documents.planned_fields(change)
    fields = {("change" if key == "kind" else key): value for key, value in named.items()}
    emit(
        options,
        table=lambda: None,
        rows=lambda: documents.as_rows(fields),
        document={
            **documents.head("PlannedChange", connection.bounded(connection.changes.answered)),
            **fields,
        },
    )

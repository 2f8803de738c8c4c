"""States of tokens as a table for people, as documents and as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coordinator.cli.render.documents import moment_text
from coordinator.cli.render.tables import dim, table_of
from coordinator.cli.render.units import when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.app.admin.program.states import SavedLine
    from coordinator.cli.shared import TimeStyle

COLUMNS = ("token", "sequence", "term", "node", "savedAt", "size", "session")


def fields(token: str, line: SavedLine) -> dict[str, Any]:
    """Return one state that is kept, without its content."""
    return {
        "token": token,
        "sequence": line.sequence,
        "term": line.term,
        "node": line.node,
        "savedAt": moment_text(line.saved_at),
        "size": line.size,
        "session": line.session,
    }


def parts(token: str, kept: Sequence[SavedLine], style: TimeStyle) -> list[RenderableType]:
    """Return the states that are kept, the newest first."""
    if not kept:
        return [dim(f"{token}: no state was saved yet")]
    rows = [
        (
            *(line.sequence, line.term, line.node or "-"),
            *(when(line.saved_at, line.saved_age_s, style), line.size),
        )
        for line in kept
    ]
    columns = (">SEQUENCE", ">TERM", "NODE", "SAVED", ">BYTES")
    return [table_of(columns, rows, ["ok"] + ["ended"] * (len(rows) - 1))]

"""Checkpoints as a table for people, as documents and as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coordinator.cli.render.documents import moment_text
from coordinator.cli.render.tables import dim, table_of
from coordinator.cli.render.units import when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.cli.shared import TimeStyle

COLUMNS = (
    *("token", "sequence", "term", "node", "committedAt", "form", "length", "data", "parity"),
    "segmentGroup",
)


def fields(row: dict[str, Any]) -> dict[str, Any]:
    """Return one checkpoint, without its content."""
    return {
        "token": row["token"],
        "sequence": row["sequence"],
        "term": row["term"],
        "node": row["node"],
        "committedAt": moment_text(row["committed_at"]),
        "form": row["form"],
        "length": row["length"],
        "data": row["data_count"],
        "parity": row["parity_count"],
        "segmentGroup": row["id"],
    }


def parts(found: Sequence[dict[str, Any]], style: TimeStyle) -> list[RenderableType]:
    """Return the checkpoints, the newest of each token first."""
    if not found:
        return [dim("no checkpoint was committed yet")]
    rows = [
        (
            *(row["token"], row["sequence"], row["term"], row["node"]),
            when(row["committed_at"], row["age_s"], style),
            *(row["form"], row["length"], _width(row)),
        )
        for row in found
    ]
    columns = ("TOKEN", ">SEQUENCE", ">TERM", "NODE", "COMMITTED", "FORM", ">BYTES", "KEPT AS")
    return [table_of(columns, rows, ["ok"] * len(rows))]


def _width(row: dict[str, Any]) -> str:
    """Write where the content is: rows of the database, or data + parity segments."""
    if row["data_count"] == 0:
        return "rows"
    return f"{row['data_count']} + {row['parity_count']}"

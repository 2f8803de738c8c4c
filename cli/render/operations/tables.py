"""Operations and the rows of queries, as tables for people and as documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from coordinator.cli.errors import API_VERSION
from coordinator.cli.render.tables import dim, table_of
from coordinator.cli.render.units import NOTHING, age, iso, when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.cli.shared import TimeStyle

Row = Mapping[str, Any]

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def size(count: float | None) -> str:
    """Write a number of bytes in one suitable unit."""
    if count is None:
        return NOTHING
    value = float(count)
    for unit in _SIZES[:-1]:
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_SIZES[-1]}"


def place(row: Row) -> str:
    """Write the location of an operation."""
    name = row["location"]
    return str(row["location_type"]) if name is None else f"{row['location_type']} {name}"


def done(row: Row) -> str:
    """Write how many of the subtasks have ended."""
    failed = f", {row['subtasks_failed']} failed" if row["subtasks_failed"] else ""
    return f"{row['subtasks_completed']}/{row['subtasks']}{failed}"


def tasks_parts(
    rows: Sequence[Row], ages: Sequence[float], style: TimeStyle
) -> list[RenderableType]:
    """Return the output of `coord operation list`.

    ages: seconds since each operation was created.
    """
    cells = [
        (
            str(row["id"]),
            row["name"] or NOTHING,
            row["type"],
            place(row),
            row["state"],
            done(row),
            size(row["bytes_completed"]),
            age(row["eta_s"]) if row["eta_s"] is not None else NOTHING,
            when(row["created_at"], age_s, style),
            f"waits for {row['waits_for']}" if row["waits_for"] else row["error"] or NOTHING,
        )
        for row, age_s in zip(rows, ages, strict=True)
    ]
    columns = (
        *("ID", "NAME", "TYPE", "LOCATION", "STATE", ">SUBTASKS", ">BYTES", ">ETA", "CREATED"),
        "NOTE",
    )
    parts: list[RenderableType] = [
        table_of(columns, cells, [row["state"] for row in rows], droppable=("NAME", "CREATED"))
    ]
    if not rows:
        parts.append(dim('no operations: `coord sql -c "CREATE TASK TYPE check_disk"` makes one'))
    return parts


def facts_parts(row: Row) -> list[RenderableType]:
    """Return the output of `coord operation show`."""
    cells = [(name, shown(value)) for name, value in row.items() if value is not None]
    return [table_of(("FACT", "VALUE"), cells, wraps=("VALUE",))]


def tree_parts(row: Row, subtasks: Sequence[Row]) -> list[RenderableType]:
    """Return the output of `coord operation tree`."""
    name = f" {row['name']}" if row["name"] else ""
    head = f"{row['id']}{name}: {row['type']} {place(row)}: {row['state']}, {done(row)}"
    cells = [
        (
            each["kind"],
            each["group_id"],
            each["entity"],
            each["state"],
            each["owner"] or each["node"] or NOTHING,
            each["attempt"],
            f"{each['progress_completed']}/{each['progress_total']}",
            size(each["bytes_completed"]),
            each["reason"] or (f"waits for {each['waits_for']}" if each["waits_for"] else NOTHING),
        )
        for each in subtasks
    ]
    columns = (
        *("KIND", "CLUSTER", "ENTITY", "STATE", "OWNER", ">ATTEMPT", ">UNITS", ">BYTES", "NOTE"),
    )
    return [head, "", table_of(columns, cells, [each["state"] for each in subtasks])]


def rows_parts(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[RenderableType]:
    """Return the answer to a query."""
    cells = [[NOTHING if value is None else shown(value) for value in row] for row in rows]
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    return [table_of(list(columns), cells), dim(f"({count})")]


def ended_line(row: Row) -> str:
    """Write how an operation ended, in one line."""
    error = f": {row['error']}" if row["error"] else ""
    moved = f", {size(row['bytes_completed'])}" if row["bytes_completed"] else ""
    name = row["name"] or row["id"]
    return f"{name}: {row['state']} ({done(row)} subtasks{moved}){error}"


def shown(value: object) -> str:
    """Write a value of a row for people."""
    if isinstance(value, datetime):
        return iso(value) or NOTHING
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return str(value)


def plain(value: object) -> Any:
    """Return a value of a row as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return iso(value) if isinstance(value, datetime) else str(value)


def plain_rows(rows: Sequence[Row]) -> list[Sequence[Any]]:
    """Return rows below the names of their columns, as `-o tsv` has them."""
    if not rows:
        return []
    cells = (tuple(_cell(plain(value)) for value in row.values()) for row in rows)
    return [tuple(_camel(name) for name in rows[0]), *cells]


def _cell(value: Any) -> Any:
    """Return a value for a cell: lists and objects as JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def task_document(row: Row) -> dict[str, Any]:
    """Return an operation as a document."""
    named = _named(row)
    origin = named.pop("kind")
    return {"apiVersion": API_VERSION, "kind": "Operation", **named, "origin": origin}


def tree_document(row: Row, subtasks: Sequence[Row]) -> dict[str, Any]:
    """Return an operation with its subtasks as a document."""
    return task_document(row) | {"subtaskList": [_named(each) for each in subtasks]}


def list_document(kind: str, key: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a document of several."""
    return {"apiVersion": API_VERSION, "kind": kind, key: documents}


def accepted_document(verb: str, ref: str) -> dict[str, Any]:
    """Return the document of a statement that was carried out."""
    return {"apiVersion": API_VERSION, "kind": "Accepted", "verb": verb, "id": ref}


def rows_document(columns: Sequence[str], rows: list[list[Any]]) -> dict[str, Any]:
    """Return the document of a query's answer."""
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    return {"apiVersion": API_VERSION, "kind": "Rows", "columns": list(columns), "rows": named}


def _named(row: Row) -> dict[str, Any]:
    """Return the columns under names such as other documents have: subtasksFailed."""
    return {_camel(name): plain(value) for name, value in row.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

"""Columns of a task's definition: name, type, default and both conversions, each stated once.

The SQL that reads, compares and writes definitions is made of these columns (`FRAGMENTS`), and so
is the table. A new option of a task is one line here, beside its field of TaskDef.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from coordinator.protocol.messages.group_record import OnDone, OnPartition, TaskDef


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskColumn:
    """Column of one option of a task.

    field:    of TaskDef.
    default:  as SQL; None: the column may be NULL.
    restarts: a change of it is a new revision, so the program is restarted; a program goes on when
              only its place changes.
    declared: a file's value is compared with the row's. `enabled` is not: people and the task's
              own end change it.
    names:    holds names of nodes, which are compared byte by byte.
    stored:   from the field's value to the column's.
    read:     from the column's value to the field's.
    """

    field: str
    name: LiteralString
    type: Literal["boolean", "bigint", "text", "text[]", "jsonb"]
    default: LiteralString | None
    restarts: bool = False
    declared: bool = True
    names: bool = False
    stored: Callable[[Any], object] = _unchanged
    read: Callable[[Any], Any] = _unchanged


def _flag(field: LiteralString, default: bool, *, declared: bool = True) -> TaskColumn:
    text: LiteralString = "true" if default else "false"
    return TaskColumn(field=field, name=field, type="boolean", default=text, declared=declared)


def _word(field: LiteralString, words: type[OnPartition | OnDone], default: str) -> TaskColumn:
    by_value = {word.value: word for word in words}
    return TaskColumn(
        field=field,
        name=field,
        type="text",
        default=f"'{default}'",
        restarts=True,
        stored=lambda word: word.value,
        read=by_value.__getitem__,
    )


def _interval(field: LiteralString, name: LiteralString) -> TaskColumn:
    """Return the column, in milliseconds, of a field in seconds."""
    return TaskColumn(
        field=field,
        name=name,
        type="bigint",
        default="0",
        restarts=True,
        stored=lambda seconds: round(seconds * 1000),
        read=lambda ms: ms / 1000,
    )


TASK_COLUMNS = (
    _flag("enabled", True, declared=False),
    TaskColumn(
        field="nodes",
        name="nodes",
        type="text[]",
        default="'{}'::text[]",
        names=True,
        stored=list,
        read=tuple,
    ),
    TaskColumn(field="preferred", name="preferred", type="text", default=None, names=True),
    _flag("pinned", False),
    _flag("failover", True),
    _flag("failback", True),
    _word("on_partition", OnPartition, OnPartition.STOP.value),
    _word("on_done", OnDone, OnDone.RESTART.value),
    _interval("progress_s", "progress_ms"),
    _interval("stop_timeout_s", "stop_timeout_ms"),
    TaskColumn(field="spec", name="spec", type="jsonb", default="'{}'::jsonb", restarts=True),
)
#: Number of cells in `task_cells`: name, revision, and the columns.
TASK_WIDTH = 2 + len(TASK_COLUMNS)

_DECLARED = [column for column in TASK_COLUMNS if column.declared]
_RESTARTS = [column for column in TASK_COLUMNS if column.restarts]


def _names(columns: Iterable[TaskColumn], table: LiteralString = "") -> LiteralString:
    return ", ".join(table + column.name for column in columns)


def _values(columns: Iterable[TaskColumn]) -> LiteralString:
    return ", ".join(f"%({column.name})s::{column.type}" for column in columns)


def _cell(column: TaskColumn) -> LiteralString:
    text: LiteralString = "::text" if column.type == "jsonb" else ""
    return "task." + column.name + text


#: Parts of statements, by the name that stands in braces. Values are the parameters of `values_of`;
#: `task` is a row of the table, `wish` one of the file's tasks, as JSON.
FRAGMENTS: Mapping[str, LiteralString] = {
    "task_columns": _names(TASK_COLUMNS),
    "task_values": _values(TASK_COLUMNS),
    "restart_columns": _names(_RESTARTS),
    "restart_values": _values(_RESTARTS),
    "task_cells": ", ".join(("task.name", "task.revision", *map(_cell, TASK_COLUMNS))),
    "declared_in_task": _names(_DECLARED, "task."),
    "declared_in_wish": _names(_DECLARED, "wish."),
    "wish_types": ", ".join(f"{column.name} {column.type}" for column in _DECLARED),
}


def values_of(definition: TaskDef) -> dict[str, object]:
    """Return the columns of a definition as parameters."""
    return {each.name: each.stored(getattr(definition, each.field)) for each in TASK_COLUMNS}


def task_of(cells: Sequence[Any]) -> TaskDef:
    """Return the definition that `task_cells` were read for."""
    name, revision, *values = cells
    options = {
        column.field: column.read(value) for column, value in zip(TASK_COLUMNS, values, strict=True)
    }
    return TaskDef(name=name, revision=revision, **options)

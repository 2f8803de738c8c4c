"""Views of tasks, of the nodes that run them, and of the observer, as plain values.

Each is made from a row of the store, whose columns are called like the fields.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from coordinator.errors import CoordError
from coordinator.protocol.messages.group_record import TaskDef

if TYPE_CHECKING:
    from coordinator.store.admin.connection import Row

View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Asked:
    """Moment of an answer, by the server's clock; scope as in status.Server."""

    server_time: datetime
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """One task of a group; ages by the server's clock.

    state:  "running", "starting", "stuck", "waiting" or "disabled".
    node:   the holder of its token; None: there is none.
    last_node: the holder, or the last one.
    since:  moment at which the state began.
    origin: source of the definition: "cli", "file" or "api".
    """

    group: str
    definition: TaskDef
    state: str
    node: str | None
    last_node: str | None
    term: int
    since: datetime | None
    since_age_s: float | None
    last_error: str | None
    origin: str
    end_reason: str | None
    changed_at: datetime | None
    changed_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOnNode:
    """State of one task on one node; "NotOnThisNode" is a state too."""

    node: str
    state: str
    standing: str
    node_state: str
    last_error: str | None
    failed_count: int
    told_at: datetime | None
    told_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """One task, the node that should run it and why, and its state on each node."""

    task: TaskLine
    responsible: str | None
    reason: str
    alert: bool
    nodes: tuple[TaskOnNode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHost:
    """One node of a task group.

    state: "ok", "late", "dead" or "ended".
    seen_version: of the group's record, on which it last acted; None: it never did.
    """

    group: str
    node: str
    standing: str
    state: str
    task_count: int
    observer: bool
    beat_age_s: float | None
    host: str | None
    pid: int | None
    version: str | None
    priority: int
    caught_up: bool
    seen_version: int | None
    group_version: int
    uptime_s: float | None
    end_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLine:
    """One decision of an observer, with its reason."""

    number: int
    at: datetime
    age_s: float
    version: int
    observer: str
    term: int
    node: str
    kind: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverPage:
    """Observer of a group: its node, its suspension if there is one, and its last decisions."""

    group: str
    state: str  #: "active", "leaderless" or "idle"
    node: str | None
    term: int
    since: datetime | None
    since_age_s: float | None
    suspended_at: datetime | None
    suspended_age_s: float | None
    suspended_by: str | None
    suspend_reason: str | None
    decisions: tuple[DecisionLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorPage:
    """Cursor of a task, as its program saved it; `cursor` is JSON text."""

    group: str
    task: str
    cursor: str | None
    term: int | None
    saved_at: datetime | None
    save_count: int


def json_of(token: str, content: bytes) -> str:
    """Return a state as the text of a cursor.

    Errors: CoordError if it is not JSON.
    """
    try:
        text = content.decode()
        json.loads(text)
    except ValueError as error:
        raise CoordError(
            f"{token}: its state is not JSON, so it is no cursor; `coord state get` prints it"
        ) from error
    return text


def line_of(row: Row) -> TaskLine:
    """Return a task from a row."""
    return _view(TaskLine, row, group=row["group_id"])


def on_node_of(row: Row) -> TaskOnNode:
    """Return the state of a task on one node."""
    return _view(TaskOnNode, row)


def host_of(row: Row) -> TaskHost:
    """Return a node of a task group."""
    return _view(
        TaskHost,
        row,
        group=row["group_id"],
        observer=bool(row["observer"]),
        group_version=row["group_version"] or 0,
    )


def decision_of(row: Row) -> DecisionLine:
    """Return a decision."""
    return _view(DecisionLine, row, number=row["id"], reason=row["reason"] or "")


def _view(kind: type[View], row: Row, **other: object) -> View:
    """Fill the fields of a view from the columns of the same names; other: the rest."""
    names = [field.name for field in fields(kind) if field.name not in other]  # type: ignore[arg-type]
    columns: dict[str, Any] = {name: row[name] for name in names}
    return kind(**columns, **other)

"""Reports as JSON documents, as lines of JSON, and as rows of tab-separated text.

Fields are only ever added. Durations are in seconds, moments in ISO-8601 and UTC, keys camelCase.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from coordinator.app.admin.documents.fields import (
    group_fields,
    head,
    history_document,
    history_lines,
    moment_text,
    node_fields,
    planned_fields,
    seconds,
    status_document,
    status_lines,
    takeover_fields,
)
from coordinator.cli import errors
from coordinator.cli.render.units import safe, when
from coordinator.cli.shared import TimeStyle

if TYPE_CHECKING:
    from coordinator.app.admin.status import History, Status

__all__ = [
    "API_VERSION",
    "group_fields",
    "head",
    "history_document",
    "history_lines",
    "moment_text",
    "node_fields",
    "planned_fields",
    "seconds",
    "status_document",
    "status_lines",
    "takeover_fields",
]

API_VERSION = errors.API_VERSION

GROUP_COLUMNS = (
    *("groupId", "state", "holder", "term", "since", "standbys"),
    *("heartbeatAgeSeconds", "leaseRemainingSeconds", "leaderlessSeconds"),
    *("lastHolder", "endReason", "nextStartSeconds", "primaries"),
)
NODE_COLUMNS = (
    *("groupId", "taskId", "role", "state", "heartbeatAgeSeconds", "leaseRemainingSeconds"),
    *("host", "pid", "uptimeSeconds", "version", "configHash", "observer", "ready"),
)
HISTORY_COLUMNS = (
    *("groupId", "term", "at", "from", "to", "how", "reason", "gapSeconds", "detectedSeconds"),
    *("endedAt", "endHow", "endReason"),
)


def one(document: Mapping[str, Any]) -> str:
    """Write a document on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def pretty(document: Mapping[str, Any]) -> str:
    """Write a document for people who read JSON."""
    return json.dumps(document, ensure_ascii=False, indent=2)


def status_rows(status: Status, group: str | None, style: TimeStyle) -> list[Sequence[Any]]:
    """Return the groups, or the nodes of one group, as rows below their names."""
    if group is not None:
        nodes = [
            {"groupId": each.group, **node_fields(node)}
            for each in status.groups
            for node in each.nodes
        ]
        return rows(NODE_COLUMNS, nodes)
    primaries = ",".join(each.address for each in status.primaries or ()) or None
    groups = [
        {
            **group_fields(each),
            "since": styled(each.since, each.since_age_s, style),
            "primaries": primaries,
        }
        for each in status.groups
    ]
    return rows(GROUP_COLUMNS, groups)


def history_rows(history: History, style: TimeStyle) -> list[Sequence[Any]]:
    """Return the terms as rows below their names."""
    terms = [
        {**takeover_fields(each), "at": styled(each.acquired_at, each.age_s, style)}
        for each in history.takeovers
    ]
    return rows(HISTORY_COLUMNS, terms)


def tsv(rows: Iterable[Sequence[Any]]) -> str:
    """Write rows as tab-separated lines; None is an empty field."""
    return "\n".join("\t".join(_cell(cell) for cell in row) for row in rows)


def _cell(value: object) -> str:
    """Write one field; booleans as in JSON."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else safe(value)


def rows(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> list[Sequence[Any]]:
    """Return lines as rows below the names of their columns."""
    return [columns, *([line[column] for column in columns] for line in lines)]


def as_rows(fields: Mapping[str, Any]) -> list[Sequence[Any]]:
    """Return fields as a row below the row of their names."""
    return [tuple(fields), tuple(fields.values())]


def styled(moment: datetime | None, age_s: float | None, style: TimeStyle) -> str | None:
    """Write a moment in the requested style; None stays None."""
    if moment is None:
        return None
    return moment_text(moment) if style is TimeStyle.ISO else when(moment, age_s, style)

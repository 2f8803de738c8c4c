"""Reports as JSON documents, as lines of JSON, and as rows of tab-separated text.

Fields are only ever added. Durations are in seconds, moments in ISO-8601 and UTC, keys camelCase.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from coordinator.cli import errors
from coordinator.cli.render.units import iso, safe, when
from coordinator.cli.shared import TimeStyle

if TYPE_CHECKING:
    from coordinator.app.admin.planned_lines import PlannedLine
    from coordinator.app.admin.primaries import Primary
    from coordinator.app.admin.status import (
        GroupLine,
        History,
        NodeLine,
        Server,
        Status,
        Takeover,
        Wait,
    )
    from coordinator.app.admin.task_views import Asked

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


def one(document: dict[str, Any]) -> str:
    """Write a document on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def pretty(document: dict[str, Any]) -> str:
    """Write a document for people who read JSON."""
    return json.dumps(document, ensure_ascii=False, indent=2)


def head(kind: str, server: Server | Asked) -> dict[str, Any]:
    """Return the fields with which every document begins."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "asOf": iso(server.server_time, digits="milliseconds"),
        "scope": server.scope,
    }


def status_document(status: Status) -> dict[str, Any]:
    """Return the document of `coord status -o json`."""
    document = head("Status", status.server)
    document["server"] = {
        "label": status.server.label,
        "schema": status.server.revision,
        "roundTripSeconds": round(status.server.round_trip_s, 6),
        "primaries": primaries_fields(status.primaries),
    }
    document["groups"] = [group_fields(group) for group in status.groups]
    return document


def primaries_fields(primaries: tuple[Primary, ...] | None) -> list[dict[str, Any]] | None:
    """Return the hosts that take writes; None if the database has only one address."""
    if primaries is None:
        return None
    return [{"address": each.address, "timeline": each.timeline} for each in primaries]


def status_lines(status: Status) -> list[dict[str, Any]]:
    """Return one document for each group."""
    start = head("Group", status.server) | {"primaries": primaries_fields(status.primaries)}
    return [start | group_fields(group) for group in status.groups]


def history_document(history: History) -> dict[str, Any]:
    """Return the document of `coord history -o json`."""
    document = head("History", history.server)
    document["takeovers"] = [takeover_fields(each) for each in history.takeovers]
    return document


def history_lines(history: History) -> list[dict[str, Any]]:
    """Return one document for each term."""
    start = head("Takeover", history.server)
    return [start | takeover_fields(each) for each in history.takeovers]


def group_fields(group: GroupLine) -> dict[str, Any]:
    """Return one group with its nodes."""
    return {
        "groupId": group.group,
        "state": group.state,
        "term": group.term,
        "holder": group.holder,
        "since": moment_text(group.since),
        "standbys": group.standby_count,
        "heartbeatAgeSeconds": seconds(group.beat_age_s),
        "leaseRemainingSeconds": seconds(group.lease_left_s),
        "leaderlessSeconds": seconds(group.leaderless_s),
        "wait": None if group.wait is None else wait_fields(group.wait),
        "lastHolder": group.last_holder,
        "endReason": group.end_reason or None,
        "nextStartSeconds": seconds(group.next_start_s),
        "spreadsTasks": group.hosts_tasks,
        "paused": group.paused or None,
        "planned": [planned_fields(change) for change in group.planned],
        "nodes": [node_fields(node) for node in group.nodes],
    }


def planned_fields(change: PlannedLine) -> dict[str, Any]:
    """Return a planned change."""
    return {
        "id": change.id,
        "groupId": change.group,
        "kind": change.kind,
        "node": change.node,
        "value": change.value,
        "state": change.state,
        "askedAt": moment_text(change.asked_at),
        "askedBy": change.asked_by,
        "reason": change.reason,
        "dueAt": moment_text(change.due_at),
        "untilAt": moment_text(change.until_at),
        "endedAt": moment_text(change.ended_at),
        "endedBy": change.ended_by,
        "outcomeReason": change.outcome_reason,
    }


def wait_fields(wait: Wait) -> dict[str, Any]:
    """Return the wait of a group after a failover, and its reason."""
    return {"timeline": wait.timeline, "why": wait.why, "seconds": seconds(wait.left_s)}


def node_fields(node: NodeLine) -> dict[str, Any]:
    """Return one node."""
    return {
        "taskId": node.node,
        "role": node.role,
        "state": node.state,
        "heartbeatAgeSeconds": seconds(node.beat_age_s),
        "leaseRemainingSeconds": seconds(node.lease_left_s),
        "heartbeatFrequency": node.heartbeat_s,
        "livenessCheckInterval": node.liveness_s,
        "host": node.host,
        "pid": node.pid,
        "uptimeSeconds": seconds(node.uptime_s),
        "version": node.version,
        "configHash": node.config_hash,
        "priority": node.priority,
        "standing": node.standing,
        "isolation": node.isolation,
        "endReason": node.end_reason,
        "tasks": node.task_count,
        "observer": node.observer,
        "ready": node.ready,
        "programReady": node.program_ready,
    }


def takeover_fields(takeover: Takeover) -> dict[str, Any]:
    """Return one term."""
    return {
        "groupId": takeover.group,
        "term": takeover.term,
        "at": moment_text(takeover.acquired_at),
        "from": takeover.previous,
        "to": takeover.node,
        "how": takeover.how,
        "reason": takeover.reason,
        "gapSeconds": seconds(takeover.gap_s),
        "detectedSeconds": seconds(takeover.detected_s),
        "endedAt": moment_text(takeover.ended_at),
        "endHow": takeover.end_how,
        "endReason": takeover.end_reason,
    }


def status_rows(status: Status, group: str | None, style: TimeStyle) -> list[Sequence[Any]]:
    """Return the groups, or the nodes of one group, as rows below their names."""
    if group is not None:
        nodes = [
            {"groupId": each.group} | node_fields(node)
            for each in status.groups
            for node in each.nodes
        ]
        return rows(NODE_COLUMNS, nodes)
    primaries = ",".join(each.address for each in status.primaries or ()) or None
    groups = [
        group_fields(each)
        | {"since": styled(each.since, each.since_age_s, style), "primaries": primaries}
        for each in status.groups
    ]
    return rows(GROUP_COLUMNS, groups)


def history_rows(history: History, style: TimeStyle) -> list[Sequence[Any]]:
    """Return the terms as rows below their names."""
    terms = [
        takeover_fields(each) | {"at": styled(each.acquired_at, each.age_s, style)}
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


def rows(columns: Sequence[str], lines: Iterable[dict[str, Any]]) -> list[Sequence[Any]]:
    """Return lines as rows below the names of their columns."""
    return [columns, *([line[column] for column in columns] for line in lines)]


def as_rows(fields: dict[str, Any]) -> list[Sequence[Any]]:
    """Return fields as a row below the row of their names."""
    return [tuple(fields), tuple(fields.values())]


def styled(moment: datetime | None, age_s: float | None, style: TimeStyle) -> str | None:
    """Write a moment in the requested style; None stays None."""
    if moment is None:
        return None
    return moment_text(moment) if style is TimeStyle.ISO else when(moment, age_s, style)


def moment_text(moment: datetime | None) -> str | None:
    """Write a moment to the millisecond."""
    return None if moment is None else iso(moment, digits="milliseconds")


def seconds(exact: float | None) -> float | None:
    """Round to the millisecond."""
    return None if exact is None else round(exact, 3)

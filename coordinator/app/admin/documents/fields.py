"""Reports as JSON documents, in the shapes of `shapes.py`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a command that shows other things loads none of these
    from collections.abc import Iterable

    from coordinator.app.admin.documents import shapes
    from coordinator.app.admin.events import EventLine
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
        WebhookLine,
    )
    from coordinator.app.admin.task_views import Asked

API_VERSION = "coord/v1"


def head(kind: str, server: Server | Asked) -> shapes.Head:
    """Return the fields with which every document begins."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "asOf": moment(server.server_time),
        "scope": server.scope,
    }


def status_document(status: Status) -> shapes.Status:
    """Return the document of `coord status -o json`."""
    return {
        **head("Status", status.server),
        "server": {
            "label": status.server.label,
            "schema": status.server.revision,
            "roundTripSeconds": round(status.server.round_trip_s, 6),
            "primaries": primaries_fields(status.primaries),
        },
        "groups": [group_fields(group) for group in status.groups],
    }


def primaries_fields(primaries: tuple[Primary, ...] | None) -> list[shapes.Primary] | None:
    """Return the hosts that take writes; None if the database has only one address."""
    if primaries is None:
        return None
    return [{"address": each.address, "timeline": each.timeline} for each in primaries]


def status_lines(status: Status) -> list[dict[str, Any]]:
    """Return one document for each group."""
    start = {**head("Group", status.server), "primaries": primaries_fields(status.primaries)}
    return [{**start, **group_fields(group)} for group in status.groups]


def history_document(history: History) -> shapes.History:
    """Return the document of `coord history -o json`."""
    takeovers = [takeover_fields(each) for each in history.takeovers]
    return {**head("History", history.server), "takeovers": takeovers}


def history_lines(history: History) -> list[dict[str, Any]]:
    """Return one document for each term."""
    start = head("Takeover", history.server)
    return [{**start, **takeover_fields(each)} for each in history.takeovers]


def group_fields(group: GroupLine) -> shapes.Group:
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
        "webhook": None if group.webhook is None else webhook_fields(group.webhook),
        "planned": [planned_fields(change) for change in group.planned],
        "nodes": [node_fields(node) for node in group.nodes],
    }


def planned_fields(change: PlannedLine) -> shapes.PlannedChange:
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


def webhook_fields(webhook: WebhookLine) -> shapes.Webhook:
    """Return the webhook of a group that takes no events."""
    return {
        "failedDeliveries": webhook.failed_count,
        "failingSeconds": seconds(webhook.failing_s),
        "error": webhook.error,
    }


def wait_fields(wait: Wait) -> shapes.Wait:
    """Return the wait of a group after a failover, and its reason."""
    return {"timeline": wait.timeline, "why": wait.why, "seconds": seconds(wait.left_s)}


def node_fields(node: NodeLine) -> shapes.Node:
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
        "address": node.address,
        "clockOffsetSeconds": node.clock_offset_s,
    }


def takeover_fields(takeover: Takeover) -> shapes.Takeover:
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


def nodes_document(status: Status) -> shapes.GroupNodes:
    """Return the nodes of the one group that was asked for."""
    (group,) = status.groups
    nodes = [node_fields(node) for node in group.nodes]
    return {**head("GroupNodes", status.server), "groupId": group.group, "nodes": nodes}


def events_document(events: Iterable[EventLine], asked: Asked | Server) -> shapes.Events:
    """Return the document of `coord events -o json`."""
    return {**head("Events", asked), "events": [event_fields(each) for each in events]}


def event_fields(event: EventLine) -> shapes.Event:
    """Return one event."""
    return {
        "id": event.id,
        "at": moment_text(event.at),
        "token": event.token,
        "event": event.kind,
        "taskId": event.node,
        "term": event.term,
        "reason": event.reason,
        "by": event.who,
    }


def moment_text(when: datetime | None) -> str | None:
    """Write a moment to the millisecond."""
    return None if when is None else moment(when)


def moment(when: datetime) -> str:
    """Write a moment that is known to the millisecond, as ISO-8601 in UTC."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(exact: float | None) -> float | None:
    """Round to the millisecond."""
    return None if exact is None else round(exact, 3)

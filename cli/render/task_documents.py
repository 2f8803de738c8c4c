"""Tasks, their nodes and their observer as JSON documents and as rows of tab-separated text.

Fields are only ever added. A task's own fields have the names of [[tasks]] in Config.toml.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from coordinator.cli.render.documents import moment_text, seconds

if TYPE_CHECKING:
    from coordinator.app.admin.task_views import (
        CursorPage,
        DecisionLine,
        ObserverPage,
        TaskHost,
        TaskLine,
        TaskOnNode,
        TaskPage,
    )
    from coordinator.protocol.messages.group_record import TasksPolicy

TASK_COLUMNS = (
    *("groupId", "name", "state", "node", "term", "since", "enabled", "preferred", "pinned"),
    *("failover", "failback", "onPartition", "onDone", "lastError"),
)
HOST_COLUMNS = (
    *("groupId", "taskId", "standing", "state", "tasks", "observer", "heartbeatAgeSeconds"),
    *("host", "pid", "version", "seenVersion", "groupVersion", "caughtUp"),
)
DECISION_COLUMNS = (
    *("at", "version", "observer", "term", "node", "decision", "before", "after", "reason"),
)
ON_NODE_COLUMNS = ("taskId", "state", "standing", "nodeState", "failedCount", "lastError")


def task_fields(task: TaskLine) -> dict[str, Any]:
    """Return one task."""
    defined = task.definition
    return {
        "groupId": task.group,
        "name": defined.name,
        "state": task.state,
        "node": task.node,
        "lastNode": task.last_node,
        "term": task.term,
        "since": moment_text(task.since),
        "enabled": defined.enabled,
        "revision": defined.revision,
        "nodes": list(defined.nodes),
        "preferred": defined.preferred,
        "pinned": defined.pinned,
        "failover": defined.failover,
        "failback": defined.failback,
        "onPartition": defined.on_partition.value,
        "onDone": defined.on_done.value,
        "progressTimeout": defined.progress_s,
        "stopTimeout": defined.stop_timeout_s,
        "spec": json.loads(defined.spec),
        "lastError": task.last_error,
        "origin": task.origin,
        "endReason": task.end_reason,
        "changedAt": moment_text(task.changed_at),
        "changedBy": task.changed_by,
    }


def page_fields(page: TaskPage) -> dict[str, Any]:
    """Return one task with its state on each node."""
    responsible = {"node": page.responsible, "reason": page.reason, "alert": page.alert}
    nodes = [on_node_fields(each) for each in page.nodes]
    return task_fields(page.task) | {"responsible": responsible, "onNodes": nodes}


def on_node_fields(each: TaskOnNode) -> dict[str, Any]:
    """Return the state of a task on one node."""
    return {
        "taskId": each.node,
        "state": each.state,
        "standing": each.standing,
        "nodeState": each.node_state,
        "failedCount": each.failed_count,
        "lastError": each.last_error,
        "toldAt": moment_text(each.told_at),
    }


def host_fields(host: TaskHost) -> dict[str, Any]:
    """Return one node of a task group."""
    return {
        "groupId": host.group,
        "taskId": host.node,
        "standing": host.standing,
        "state": host.state,
        "tasks": host.task_count,
        "observer": host.observer,
        "heartbeatAgeSeconds": seconds(host.beat_age_s),
        "host": host.host,
        "pid": host.pid,
        "version": host.version,
        "priority": host.priority,
        "caughtUp": host.caught_up,
        "seenVersion": host.seen_version,
        "groupVersion": host.group_version,
        "uptimeSeconds": seconds(host.uptime_s),
        "endReason": host.end_reason,
    }


def decision_fields(decision: DecisionLine) -> dict[str, Any]:
    """Return one decision."""
    return {
        "at": moment_text(decision.at),
        "version": decision.version,
        "observer": decision.observer,
        "term": decision.term,
        "node": decision.node,
        "decision": decision.kind,
        "before": decision.before,
        "after": decision.after,
        "reason": decision.reason,
    }


def observer_fields(page: ObserverPage) -> dict[str, Any]:
    """Return the observer of a group with its last decisions."""
    suspended = None
    if page.suspended_at is not None:
        suspended = {
            "at": moment_text(page.suspended_at),
            "by": page.suspended_by,
            "reason": page.suspend_reason,
        }
    return {
        "groupId": page.group,
        "state": page.state,
        "observer": page.node,
        "term": page.term,
        "since": moment_text(page.since),
        "suspended": suspended,
        "decisions": [decision_fields(each) for each in page.decisions],
    }


def policy_fields(policy: TasksPolicy) -> dict[str, float | None]:
    """Return a group's policy by the keys of [tasksPolicy]; None: each node uses its own value."""
    from coordinator.protocol.messages.group_record import POLICY_KEYS

    return {key: getattr(policy, field) for field, key in POLICY_KEYS.items()}


def cursor_fields(page: CursorPage) -> dict[str, Any]:
    """Return the cursor of a task."""
    return {
        "groupId": page.group,
        "task": page.task,
        "cursor": None if page.cursor is None else json.loads(page.cursor),
        "term": page.term,
        "savedAt": moment_text(page.saved_at),
        "saveCount": page.save_count,
    }

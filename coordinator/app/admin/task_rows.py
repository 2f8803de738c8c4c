"""Rows of the store's desk as the plain values that people see."""

from __future__ import annotations

from coordinator.app.admin.task_views import DecisionLine, TaskHost, TaskLine, TaskOnNode
from coordinator.store.admin.queries import Row


def line_of(row: Row) -> TaskLine:
    """Return a task from a row of the desk."""
    return TaskLine(
        group=row["group_id"],
        definition=row["definition"],
        state=row["state"],
        node=row["node"],
        last_node=row["last_node"],
        term=row["term"],
        since=row["since"],
        since_age_s=row["since_age_s"],
        last_error=row["last_error"],
        origin=row["origin"],
        end_reason=row["end_reason"],
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )


def on_node_of(row: Row) -> TaskOnNode:
    """Return what a node has to do with a task."""
    return TaskOnNode(
        node=row["node"],
        state=row["state"],
        standing=row["standing"],
        node_state=row["node_state"],
        last_error=row["last_error"],
        failed_count=row["failed_count"],
        told_at=row["told_at"],
        told_age_s=row["told_age_s"],
    )


def host_of(row: Row) -> TaskHost:
    """Return a node of a task group."""
    return TaskHost(
        group=row["group_id"],
        node=row["node"],
        standing=row["standing"],
        state=row["state"],
        task_count=row["task_count"],
        observer=bool(row["observer"]),
        beat_age_s=row["beat_age_s"],
        host=row["host"],
        pid=row["pid"],
        version=row["version"],
        priority=row["priority"],
        caught_up=row["caught_up"],
        seen_version=row["seen_version"],
        group_version=row["group_version"] or 0,
        uptime_s=row["uptime_s"],
        end_reason=row["end_reason"],
    )


def decision_of(row: Row) -> DecisionLine:
    """Return a decision."""
    return DecisionLine(
        number=row["id"],
        at=row["at"],
        age_s=row["age_s"],
        version=row["version"],
        observer=row["observer"],
        term=row["term"],
        node=row["node"],
        kind=row["kind"],
        before=row["before"],
        after=row["after"],
        reason=row["reason"] or "",
    )

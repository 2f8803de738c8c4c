"""Facts about a group from the rows of the store, and their explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coordinator.app.admin.explain.facts import (
    Explanation,
    GroupFacts,
    NodeFact,
    PlannedFact,
    ScheduleFact,
    SuspensionFact,
    TaskFacts,
    TaskOnNodeFact,
    TermFact,
    TokenFact,
    WaitFact,
)
from coordinator.app.admin.explain.program import explain_program
from coordinator.app.admin.explain.tasks import explain_task, explain_tasks
from coordinator.app.admin.task_views import Asked
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import NotFoundError
from coordinator.protocol.group.placement import Verdict, assignment
from coordinator.protocol.messages.group_record import GroupRecord
from coordinator.store.admin.connection import AdminConnection, Row, Rows
from coordinator.store.admin.look import situation as store
from coordinator.store.node.group_record import Known, record_of


class Explainer:
    """Connection that explains groups and tasks; close it after use."""

    __slots__ = ("_database", "_resolved")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError, SchemaError.
        """
        self._resolved = resolved
        self._database = AdminConnection.to_whole_schema(
            resolved.conninfo, schema, resolved.label, timeout_s
        )

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def explain(self, group: str, task: str | None = None) -> tuple[Explanation, Asked]:
        """Explain a group, or one task of it; also return the moment of the facts.

        Errors: NotFoundError if there is no such group or task.
        """
        rows = store.situation(self._database, group, task)
        if not rows["group"]:
            raise NotFoundError(f"there is no group {group!r} in {self._resolved.label}")
        facts = group_facts(group, rows, task=task)
        asked = Asked(server_time=facts.now, scope=self._resolved.scope)
        if task is None and not facts.hosts_tasks:
            return explain_program(facts), asked
        record = record_of(tuple(rows["record"][0].values()), Known())
        verdicts = assignment(group, record)
        later = assignment(group, without_silent(record, facts))
        tasks = [
            _task(row, rows, later if row["state"] == "stuck" else verdicts)
            for row in rows["tasks"]
        ]
        if task is None:
            return explain_tasks(facts, tasks), asked
        if not tasks:
            raise NotFoundError(f"{group}: there is no task {task!r}")
        return explain_task(facts, tasks[0]), asked

    def groups(self) -> tuple[str, ...]:
        """Return the names of all groups."""
        return tuple(row["group_id"] for row in self._database.read(store.NAMES))


def without_silent(record: GroupRecord, facts: GroupFacts) -> GroupRecord:
    """Return the record as it will be once the sessions of silent nodes have been ended."""
    silent = {node.node for node in facts.nodes if node.state == "dead"}
    nodes = {
        name: replace(row, live=row.live and name not in silent)
        for name, row in record.nodes.items()
    }
    return replace(record, nodes=nodes)


def group_facts(group: str, rows: Mapping[str, Rows], *, task: str | None) -> GroupFacts:
    """Return the facts that the rows of `situation` have."""
    (row,) = rows["group"]
    suspension = None
    if row["suspended_age_s"] is not None:
        suspension = SuspensionFact(
            age_s=row["suspended_age_s"],
            by=row["suspended_by"] or "",
            reason=row["suspend_reason"] or "",
        )
    return GroupFacts(
        group=group,
        now=row["now"],
        server_age_s=row["server_age_s"],
        hosts_tasks=row["hosts_tasks"],
        token=TokenFact(
            **{field: row[field] for field in ("term", "holder", "held", "holds")},
            acquired_age_s=row["acquired_age_s"],
            released_age_s=row["released_age_s"],
        ),
        nodes=tuple(_node(node, rows["planned"]) for node in rows["nodes"]),
        terms=() if task is not None else tuple(TermFact(**term) for term in rows["terms"]),
        wait=_wait(rows["status"]),
        suspension=suspension,
        schedule=None if task is not None else _schedule(rows["schedules"]),
        planned=tuple(_planned(row) for row in rows["planned"]),
    )


def _planned(row: Row) -> PlannedFact:
    return PlannedFact(**{key: row[key] for key in row if key != "value"})


def _node(row: Row, planned: Rows) -> NodeFact:
    """Return a node; a priority that was set for it counts in the place of its own (A8)."""
    fields: dict[str, Any] = {**row, "end_reason": row["end_reason"] or ""}
    fields["address"] = row["address"] or ""
    for plan in planned:
        if plan["kind"] == "priority" and plan["node"] == row["node"]:
            fields["priority"] = plan["value"]
    host, pid = fields.pop("host"), fields.pop("pid")
    return NodeFact(**fields, where=f"{host}:{pid}" if host else "")


def _wait(status: Rows) -> WaitFact | None:
    row = status[0] if status else None
    if row is None or row["unsettled_timeline"] is None:
        return None
    return WaitFact(
        timeline=row["unsettled_timeline"],
        why="restart" if row["restarted"] else "failover",
        left_s=None if row["wait_s"] is None else max(0.0, row["wait_s"]),
    )


def _schedule(rows: Rows) -> ScheduleFact | None:
    if not rows:
        return None
    row = rows[0]
    return ScheduleFact(
        due_s=row["due_s"],
        fired_age_s=row["fired_age_s"],
        outcome=row["outcome"],
        ended=row["ended"],
        end_reason=row["end_reason"],
    )


def _task(row: Row, rows: Mapping[str, Rows], verdicts: Mapping[str, Verdict]) -> TaskFacts:
    verdict = verdicts.get(row["task"], Verdict(None, "it is not in the group's record"))
    return TaskFacts(
        task=row["task"],
        state=row["state"],
        node=row["node"],
        last_node=row["last_node"],
        term=row["term"],
        since_s=row["since_age_s"],
        responsible=verdict.node,
        why=verdict.reason,
        alert=verdict.alert,
        preferred=row["preferred"],
        pinned=row["pinned"],
        end_reason=row["end_reason"] or "",
        nodes=tuple(map(_on_node, rows["task_nodes"])),
        terms=tuple(TermFact(**term) for term in rows["terms"]),
        schedule=_schedule(rows["schedules"]),
    )


def _on_node(row: Row) -> TaskOnNodeFact:
    return TaskOnNodeFact(
        node=row["node"],
        state=row["state"],
        node_state=row["node_state"],
        standing=row["standing"],
        failed_count=row["failed_count"],
        told_age_s=row["told_age_s"],
        last_error=row["last_error"] or "",
    )

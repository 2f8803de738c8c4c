"""A witness of rules A: it sees each taking, and each step of a node, and judges by the rows alone.

It shares no decision with the database or the nodes that it watches.
"""

from __future__ import annotations

from coordinator.protocol.messages.planned import HANDOVERS, PAUSES, Planned, PlannedKind
from coordinator.protocol.messages.requests import NodeFacts, Request, Take
from coordinator.protocol.messages.task_requests import TakeTasks
from coordinator.protocol.node.state.node import Node
from tests.simulation.world.settings import GROUP
from tests.support.fakes.memory_database import MemoryDatabase
from tests.support.fakes.memory_rows import PlannedRow


def standing(database: MemoryDatabase, group: str) -> tuple[PlannedRow, ...]:
    """Return the rows that count at this moment: asked for, not ended, and not over."""
    now = database.now()
    return tuple(
        row
        for row in database.planned.values()
        if row.group == group
        and row.outcome is None
        and (row.due_at is None or row.due_at <= now)
        and (row.until_at is None or row.until_at > now)
    )


def taking(
    now: float, facts: NodeFacts, request: Request, rows: tuple[PlannedRow, ...]
) -> list[str]:
    """Name every taking that a row forbade; the rows are those of before the request."""
    if not isinstance(request, Take | TakeTasks):
        return []
    who = f"at {now:.3f} {facts.node}"
    observes = isinstance(request, Take) and facts.hosts_tasks
    told = [
        f"A2, A3: {who} took a token in a {row.kind}"
        for row in rows
        if row.kind in PAUSES and not observes
    ]
    drained = any(row.kind is PlannedKind.DRAIN and row.node == facts.node for row in rows)
    return [*told, f"A7: {who} took a token while it was draining"] if drained else told


def working(node: Node, now: float) -> list[str]:
    """Name every program that a node lets run although what it has read forbids that."""
    me = node.policy.node
    told = []
    if node.task_state is None:
        forbids = node.view is not None and _forbids(node.view.planned, me)
        if forbids and node.run is not None and not node.run.stopping and node.leaving is None:
            told.append(f"A2, A7: at {now:.3f} {me} runs its program in a pause or drain")
        return told
    record = node.task_state.record
    if record is None or not node.task_state.current or node.session is None:
        return told
    if not _forbids(record.planned, me):
        return told
    return [
        f"A2, A7: at {now:.3f} {me} runs {work.task} in a pause or drain"
        for work in node.task_state.works.values()
        if work.run is not None and not work.run.stopping and not work.lost
    ]


def left_open(database: MemoryDatabase) -> list[str]:
    """Name every switchover that nobody carried out, refused or let run out."""
    return [
        f"A5: the {row.kind} {row.id} to {row.node} is still open"
        for row in database.planned.values()
        if row.kind in HANDOVERS and row.group == GROUP and row.outcome is None
    ]


def _forbids(planned: Planned, node: str) -> bool:
    return any(
        change.kind is PlannedKind.PAUSE_WORK
        or (change.kind is PlannedKind.DRAIN and change.node == node)
        for change in planned.changes
    )

"""Sessions of a MemoryDatabase: they begin, beat, and end once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.messages.group_record import Standing
from coordinator.protocol.messages.requests import (
    Answer,
    Candidate,
    EndNamesake,
    Join,
    Leave,
    NodeFacts,
    TellReady,
)
from coordinator.store.node.session import kind_refusal
from tests.support.fakes import memory_planned, memory_token
from tests.support.fakes.memory_rows import NodeRow

if TYPE_CHECKING:
    from tests.support.fakes.memory_database import MemoryDatabase

SILENT_INTERVALS_MAX = 2


def beat(database: MemoryDatabase, facts: NodeFacts, session: str) -> bool:
    """Count a heartbeat of the session, unless it has ended."""
    key = facts.group, facts.node
    row = database.nodes.get(key)
    if row is None or row.session != session or row.ended:
        return False
    database.nodes[key] = replace(row, beat=row.beat + 1, beat_at=database.now())
    return True


def join(database: MemoryDatabase, facts: NodeFacts, request: Join) -> Answer:
    """Start a session in the node's own row."""
    database.prepare(facts)
    key = facts.group, facts.node
    row = database.nodes[key]
    if not database.join_allowed(row, request):
        return Answer(done=False, view=database.view(facts), namesake=database.seen(row))
    again = row.session == request.session or facts.holds
    refused = "" if again else _other_kind(database, facts)
    if refused:
        return Answer(done=False, view=database.view(facts), refused=refused)
    where = f"{facts.host}:{facts.pid}"
    shown = facts
    if row.session == request.session and row.facts is not None:
        # A request that comes late does not undo what the session has told since.
        shown = replace(facts, liveness_s=row.facts.liveness_s, lease_s=row.facts.lease_s)
    joined = NodeRow(shown, request.session, row.beat + 1, database.now(), False, "", where)
    # As the SQL compares: a row without facts has the columns' default priority, 1.
    priority = 1 if row.facts is None else row.facts.priority
    newly = row.ended or row.session is None or priority != facts.priority
    if not facts.hosts_tasks:
        database.nodes[key] = joined
        if newly and not facts.holds:
            database.versions[facts.group] += 1
        return _joined(database, facts, row, joined)
    if row.session == request.session:
        database.nodes[key] = replace(
            joined,
            standing=row.standing,
            caught_up=row.caught_up,
            seen_version=row.seen_version,
        )
        return _joined(database, facts, row, joined)
    database.nodes[key] = replace(joined, standing=_standing_of(row))
    for (group, task, node), known in database.task_nodes.items():
        if (group, node) == key:
            database.task_nodes[group, task, node] = replace(known, failed_count=0)
    database.raise_version(facts.group, "join")
    return _joined(database, facts, row, joined)


def _joined(database: MemoryDatabase, facts: NodeFacts, before: NodeRow, after: NodeRow) -> Answer:
    view, was = database.view(facts), database.seen(before)
    return Answer(done=True, view=view, beat=after.beat, namesake=was)


def _other_kind(database: MemoryDatabase, facts: NodeFacts) -> str:
    """Return why a node may not join a group of the other kind."""
    now = database.now()
    others = sum(
        row.facts is not None
        and row.facts.hosts_tasks != facts.hosts_tasks
        and not row.facts.holds
        and not row.ended
        and now - row.beat_at < row.facts.liveness_s
        for (group, node), row in database.nodes.items()
        if group == facts.group and node != facts.node
    )
    tasks = sum(
        group == facts.group and not row.deleted for (group, _), row in database.tasks.items()
    )
    tasks = 0 if facts.hosts_tasks else tasks
    if not others and not tasks:
        return ""
    return kind_refusal(facts.group, hosts_tasks=facts.hosts_tasks, others=others, tasks=tasks)


def _standing_of(before: NodeRow) -> Standing:
    """A new node has everything to show; one that was a Member has failed, or was away."""
    if before.session is None or before.standing is Standing.PROMOTABLE:
        return Standing.PROMOTABLE
    return Standing.REHAB


def end_session(database: MemoryDatabase, facts: NodeFacts, node: str, reason: str) -> None:
    """End the session of a node of the asker's group."""
    key = facts.group, node
    row = replace(database.nodes[key], ended=True, end_reason=reason)
    database.nodes[key] = replace(row, standing=standing_after_end(row, facts))
    if facts.hosts_tasks:
        database.raise_version(facts.group, "end")


def standing_after_end(row: NodeRow, facts: NodeFacts) -> Standing:
    """A Member whose session was ended by somebody has failed."""
    failed = facts.hosts_tasks and row.standing is Standing.MEMBER
    return Standing.REHAB if failed else row.standing


def end_namesake(database: MemoryDatabase, facts: NodeFacts, request: EndNamesake) -> bool:
    """End the session in the node's own row, if it is as silent as it was seen."""
    row = database.nodes.get((facts.group, facts.node))
    if row is None or row.session != request.session or row.ended or row.beat != request.beat:
        return False
    end_session(database, facts, facts.node, "silent namesake")
    return True


def leave(database: MemoryDatabase, facts: NodeFacts, request: Leave) -> bool:
    """End the own session, and give back all that it holds."""
    if not database.session_lives(facts.group, facts.node, request.session):
        return False
    key = facts.group, facts.node
    database.nodes[key] = replace(database.nodes[key], ended=True, end_reason=request.reason)
    held = [name for name, token in database.tokens.items() if token.session == request.session]
    for name in held:
        memory_token.give_back(database, name, request.session, None, request.reason)
    database.raise_version(facts.group, "leave")
    return True


def leave_or_tell(database: MemoryDatabase, facts: NodeFacts, request: Leave | TellReady) -> bool:
    """Carry out what a node asks about its own session."""
    if isinstance(request, Leave):
        return leave(database, facts, request)
    return tell_ready(database, facts, request)


def tell_ready(database: MemoryDatabase, facts: NodeFacts, request: TellReady) -> bool:
    """Note the readiness of a session, and let the group look again."""
    if not database.session_lives(facts.group, facts.node, request.session):
        return False
    key = facts.group, facts.node
    database.nodes[key] = replace(database.nodes[key], ready=request.ready)
    database.raise_version(facts.group, "ready")
    return True


def roster(database: MemoryDatabase, group: str) -> tuple[Candidate, ...]:
    """Name the live nodes of the group."""
    now = database.now()
    return tuple(
        Candidate(
            node=node,
            priority=memory_planned.priority(database, group, node, row.facts.priority),
            age_s=max(0.0, now - row.beat_at),
            heartbeat_s=row.facts.heartbeat_s,
            ready=row.ready,
        )
        for (of, node), row in database.nodes.items()
        if of == group
        and row.facts is not None
        and not row.ended
        and now - row.beat_at < SILENT_INTERVALS_MAX * row.facts.liveness_s
    )

"""Task groups in a MemoryDatabase: what their nodes ask, and what an operator changes.

Each request is one transaction: it looks first, then writes, and everything that it changes in
the group's record raises the version once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.messages.group_record import (
    NO_POLICY,
    RESERVED_PREFIX,
    GroupRecord,
    NodeRecord,
    Standing,
    TaskToken,
    token_name,
)
from coordinator.protocol.messages.requests import Answer, NodeFacts, TokenSeen
from coordinator.protocol.messages.task_requests import (
    CatchUp,
    ChangeStanding,
    Decide,
    Decision,
    EndSession,
    EndSpread,
    RaiseTaskFloors,
    ReadGroup,
    ReleaseTasks,
    ReportTasks,
    SessionSeen,
    TakeTasks,
    TaskRequest,
    WatchSessions,
)
from tests.support.fakes import memory_planned, memory_sessions, memory_token
from tests.support.fakes.memory_rows import (
    NEVER_HELD,
    NEVER_TOLD,
    NO_BASE,
    TaskRow,
)

if TYPE_CHECKING:
    from tests.support.fakes.memory_database import MemoryDatabase


def carry_out(database: MemoryDatabase, facts: NodeFacts, request: TaskRequest) -> Answer:
    """Carry out one request of a node that runs tasks."""
    match request:
        case ReadGroup():
            group = record(database, facts.group)
            return Answer(done=True, view=database.view(facts), group=group)
        case WatchSessions():
            sessions = _live_sessions(database, facts.group)
            return Answer(done=True, view=database.view(facts), sessions=sessions)
        case TakeTasks():
            return _take(database, facts, request)
        case RaiseTaskFloors():
            for task, term in request.floors:
                memory_token.raise_floor(database, token_name(facts.group, task), term)
            return database.told(facts, True)
        case ReleaseTasks():
            done = _release(database, facts, request)
        case Decide():
            done = _decide(database, facts, request)
        case EndSpread():
            done = _end_spread(database, facts, request)
        case ReportTasks():
            done = _tell(database, facts, request)
        case CatchUp():
            done = _catch_up(database, facts, request)
    return database.told(facts, done)


# --- reading --------------------------------------------------------------------------------------


def record(database: MemoryDatabase, group: str) -> GroupRecord:
    """Return the group as everybody reads it."""
    tasks = {
        task: row.definition
        for (of, task), row in database.tasks.items()
        if of == group and not row.deleted
    }
    prefix = token_name(group, "")
    tokens = {
        name.removeprefix(prefix): _task_token(database, group, name, token)
        for name, token in database.tokens.items()
        if name.startswith(prefix)
        and not name.startswith(prefix + RESERVED_PREFIX)
        and (name.removeprefix(prefix) in tasks or token.session is not None)
    }
    nodes = {
        node: NodeRecord(
            node=node,
            standing=row.standing,
            live=not row.ended,
            session=row.session,
            priority=memory_planned.priority(
                database, group, node, 1 if row.facts is None else row.facts.priority
            ),
            caught_up=row.caught_up,
            seen_version=row.seen_version,
            hosts_tasks=row.facts is not None and row.facts.hosts_tasks,
            capacity=None if row.facts is None else row.facts.capacity,
        )
        for (of, node), row in database.nodes.items()
        if of == group and row.session is not None
    }
    failures = {
        (task, node): row.failed_count
        for (of, task, node), row in database.task_nodes.items()
        if of == group and row.failed_count and task in tasks
    }
    return GroupRecord(
        version=database.versions.get(group, 0),
        tasks=tasks,
        nodes=nodes,
        tokens=tokens,
        failures=failures,
        suspended=database.suspended.get(group, False),
        spread_version=database.spreads.get(group, 0),
        policy=database.policies.get(group, NO_POLICY),
        planned=memory_planned.planned(database, group),
    )


def _task_token(database: MemoryDatabase, group: str, name: str, token: TokenSeen) -> TaskToken:
    base, free = database.bases.get(name, NO_BASE), database.is_free(group, token)
    base_node, base_taken = token.node, None if free else base.taken or 0
    if base.version == database.versions[group]:
        base_node, base_taken = base.node, base.base_taken
    return TaskToken(
        term=token.term,
        node=token.node,
        session=token.session,
        free=free,
        floor=token.term_floor,
        base_node=base_node,
        base_taken=base_taken,
    )


def _live_sessions(database: MemoryDatabase, group: str) -> tuple[SessionSeen, ...]:
    return tuple(
        SessionSeen(
            node=node,
            session=row.session,
            beat=row.beat,
            liveness_s=row.facts.liveness_s,
            heartbeat_s=row.facts.heartbeat_s,
            standing=row.standing,
            caught_up=row.caught_up,
            age_s=max(0.0, database.now() - row.beat_at),
            standing_version=row.standing_version,
        )
        for (of, node), row in database.nodes.items()
        if of == group and row.facts is not None and row.session is not None and not row.ended
    )


# --- tokens of tasks ------------------------------------------------------------------------------


def _take(database: MemoryDatabase, facts: NodeFacts, request: TakeTasks) -> Answer:
    """Take what is still as it was seen: only a live Member that decided on this version."""
    group = facts.group
    row = database.nodes.get((group, facts.node))
    allowed = (
        row is not None
        and database.session_lives(group, facts.node, request.session)
        and database.may_run_tasks(row)
        and database.decided_on(group, request)
        and database.branch_matches(request)
        and database.is_settled(group)
    )
    if not allowed:
        return database.told(facts, False)
    memory_sessions.beat(database, facts, request.session)
    taken = []
    stateless: list[tuple[str, int]] = []
    for wanted in sorted(request.wanted, key=lambda wanted: wanted.task):
        task = database.tasks.get((group, wanted.task))
        name = token_name(group, wanted.task)
        if wanted.seen_term == 0:
            database.ensure_token(name)
        token = database.tokens.get(name)
        if task is None or task.deleted or not task.definition.enabled or token is None:
            continue
        if not database.seen_term_matches(token, wanted.seen_term):
            continue
        if not database.free_to_take(group, token):
            continue
        term = database.next_term(group, token, wanted.next_term)
        _keep_base(database, name, request.version, token.node, taken=None, now=request.version)
        ended = token.session is not None
        memory_token.grant(
            database,
            name,
            holder=(facts.node, request.session),
            term=term,
            how=("takeover" if ended else "release" if token.term else "first", ""),
            end_how="session ended",
        )
        taken.append((wanted.task, term))
        if not database.states.get(name):
            stateless.append((name, term))
    return Answer(
        done=True, view=database.view(facts), taken=tuple(taken), stateless=tuple(stateless)
    )


def _keep_base(
    database: MemoryDatabase,
    name: str,
    version: int,
    node: str | None,
    *,
    taken: int | None,
    now: int | None,
) -> None:
    """Note who held a token when the version was made, at its first change since."""
    base = database.bases.get(name, NO_BASE)
    if base.version != version:
        base = replace(base, version=version, node=node, base_taken=taken)
    database.bases[name] = replace(base, taken=now)


def _release(database: MemoryDatabase, facts: NodeFacts, request: ReleaseTasks) -> bool:
    group, changed = facts.group, False
    freed: list[tuple[str, str | None]] = []
    if not database.session_lives(group, facts.node, request.session):
        return False
    for given in request.given:
        name = token_name(group, given.task)
        holder = database.tokens[name].node if name in database.tokens else None
        if not memory_token.give_back(database, name, request.session, given.term, given.reason):
            continue
        freed.append((name, holder))
        if given.failed:
            key = group, given.task, facts.node
            known = database.task_nodes.get(key, NEVER_TOLD)
            database.task_nodes[key] = replace(known, failed_count=known.failed_count + 1)
            changed = True
        row = database.tasks.get((group, given.task))
        if given.done and row is not None and row.definition.enabled:
            disabled = replace(row.definition, enabled=False)
            database.tasks[group, given.task] = TaskRow(disabled, row.deleted, given.reason)
            changed = True
    if changed:
        database.raise_version(group, "release")
        return True
    for name, holder in freed:
        taken = database.bases.get(name, NO_BASE).taken or 0
        _keep_base(database, name, database.versions[group], holder, taken=taken, now=taken)
    if freed:
        database.notify(group)
    return True


# --- the observer ---------------------------------------------------------------------------------


def _decide(database: MemoryDatabase, facts: NodeFacts, request: Decide) -> bool:
    group = facts.group
    token = database.tokens.get(facts.token, NEVER_HELD)
    allowed = (
        database.decided_on(group, request)
        and (token.session, token.term) == (request.session, request.term)
        and database.session_lives(group, facts.node, request.session)
        and database.is_settled(group)
        and not database.suspended.get(group, False)
    )
    if not allowed:
        return False
    carried_out = [one for one in request.decisions if _carry_out_one(database, group, one)]
    if not carried_out:
        return False
    database.raise_version(group, "decide")
    for one in carried_out:
        if isinstance(one, ChangeStanding):
            row = database.nodes[group, one.node]
            version = database.versions[group]
            database.nodes[group, one.node] = replace(row, standing_version=version)
            if one.after is Standing.MEMBER:
                database.spreads[group] = version
    database.note_decisions(group, facts.node, request.term, carried_out)
    return True


def _end_spread(database: MemoryDatabase, facts: NodeFacts, request: EndSpread) -> bool:
    group = facts.group
    token = database.tokens.get(facts.token, NEVER_HELD)
    allowed = (
        request.version == database.versions.get(group)
        and database.spreads.get(group, 0) > 0
        and (token.session, token.term) == (request.session, request.term)
    )
    if allowed:
        database.spreads[group] = 0
        database.raise_version(group, "spread")
    return allowed


def _carry_out_one(database: MemoryDatabase, group: str, decision: Decision) -> bool:
    """Carry a decision out if what it rests on still holds."""
    key = group, decision.node
    row = database.nodes.get(key)
    if row is None or row.session != decision.session or row.ended:
        return False
    match decision:
        case EndSession(beat=seen_beat, reason=reason):
            if not database.beat_matches(row, seen_beat):
                return False
            standing = Standing.REHAB if row.standing is Standing.MEMBER else row.standing
            database.nodes[key] = replace(row, ended=True, end_reason=reason, standing=standing)
        case ChangeStanding(before=before, after=after):
            if row.standing is not before:
                return False
            database.nodes[key] = replace(row, standing=after)
    return True


# --- what nodes say about themselves --------------------------------------------------------------


def _tell(database: MemoryDatabase, facts: NodeFacts, request: ReportTasks) -> bool:
    group, node = facts.group, facts.node
    if not database.session_lives(group, node, request.session):
        return False
    row = database.nodes[group, node]
    database.nodes[group, node] = replace(row, seen_version=request.version)
    for told in request.told:
        if not told.state:
            continue  # a note about a task of others is an event, and nothing else
        key = group, told.task, node
        known = database.task_nodes.get(key, NEVER_TOLD)
        if known.told and not told.error and told.term == known.told.term:
            told = replace(told, error=known.told.error)
        database.task_nodes[key] = replace(known, told=told)
    return True


def _catch_up(database: MemoryDatabase, facts: NodeFacts, request: CatchUp) -> bool:
    if not database.session_lives(facts.group, facts.node, request.session):
        return False
    group, pupil = facts.group, request.pupil
    if not database.session_lives(group, pupil, request.pupil_session):
        return True
    row = database.nodes[group, pupil]
    members = [
        node
        for (of, node), other in database.nodes.items()
        if of == group
        and other.standing is Standing.MEMBER
        and other.session is not None
        and not other.ended
        and (other.facts is None or other.facts.priority > 0)
    ]
    if pupil == facts.node:
        may = not members
    else:
        may = row.seen_version >= request.version and facts.node in members
    if may and not row.caught_up:
        database.nodes[group, pupil] = replace(row, caught_up=True)
        database.raise_version(group, "catch up")
    return True

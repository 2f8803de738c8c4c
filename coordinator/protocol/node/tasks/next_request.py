"""The next request about the group's tasks, and the time of the next decision about them."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.protocol.group import observer
from coordinator.protocol.group.placement import mentor_of, placed_as_planned
from coordinator.protocol.messages.group_record import GroupRecord, NodeRecord, Standing
from coordinator.protocol.messages.requests import Request, View
from coordinator.protocol.messages.task_requests import (
    CatchUp,
    Decide,
    EndSpread,
    GivenTask,
    RaiseTaskFloors,
    ReadGroup,
    ReleaseTasks,
    TakeTasks,
    WantedTask,
    WatchSessions,
)
from coordinator.protocol.node.state.node import Node, holds, manners_of
from coordinator.protocol.node.state.tasks import TaskState, hung_at
from coordinator.protocol.node.tasks.report import alert_at, tell, tell_at
from coordinator.protocol.rules.epoch import may_act
from coordinator.protocol.rules.terms import next_term
from coordinator.protocol.rules.trust import fresh

#: Shortest time between two reads of the record, in seconds: twenty nodes that join one after the
#: other must not make each node read a thousand tasks twenty times.
READ_PAUSE_S = 0.1
#: Tokens per request: a thousand tasks of one node are taken in a few transactions.
BATCH_MAX = 200


def must_read(node: Node) -> bool:
    """Say whether the record is older than the version that the last answer showed (rule D4)."""
    duties, view = node.duties, node.view
    if duties is None or view is None:
        return False
    record = duties.record
    return (
        record is None or not duties.current or duties.stale or record.version != view.group_version
    )


def next_duty(node: Node, now: float) -> Request | None:
    """Choose the task request that matters most now; None when nothing is due."""
    duties, view, session = node.duties, node.view, node.session
    if duties is None or view is None or session is None or node.leaving is not None:
        return None
    if must_read(node) or now >= _look_again_at(node, duties):
        # A program whose trust depends on this read must not wait for a pause.
        in_need = duties.running() and not duties.current
        return ReadGroup() if in_need or now >= duties.read_at + READ_PAUSE_S else None
    given = _given(duties)
    if given:
        return ReleaseTasks(session=session, given=given)
    if _watches(node) and now >= duties.watch_at:
        return WatchSessions()
    return (
        _decide(node, duties, view, session, now)
        or _take(node, duties, view, session, now)
        or _end_spread(node, duties, view, session)
        or _upkeep(node, duties, session, now)
    )


def _given(duties: TaskState) -> tuple[GivenTask, ...]:
    """Return the tokens that can be given back: nothing of their programs is left."""
    over = (
        work for work in duties.works.values() if work.ending and work.run is None and not work.lost
    )
    given = (
        GivenTask(
            task=work.task,
            term=work.term,
            reason=work.ending,
            failed=work.failed,
            done=work.done,
        )
        for work in over
    )
    return tuple(given)[:BATCH_MAX]


def _watches(node: Node) -> bool:
    """Say whether this node watches the sessions: the observer, and the first in its line.

    The deputy watches so that it already knows what the observer knew, should it succeed it.
    """
    return holds(node) or node.place == 0


def _decide(node: Node, duties: TaskState, view: View, session: str, now: float) -> Decide | None:
    manners, record = manners_of(node), duties.record
    if not holds(node) or duties.watched is None or duties.judged or not may_act(view):
        return None
    assert manners is not None
    assert record is not None
    decided = observer.decisions(duties.watched, record.suspended, now, manners)
    if not decided:
        return None
    return Decide(
        session=session,
        term=view.token.term,
        version=view.group_version,
        decisions=decided[:BATCH_MAX],
    )


def _end_spread(node: Node, duties: TaskState, view: View, session: str) -> EndSpread | None:
    """Have the observer record that nothing is left to move, once that is so (P4)."""
    record = duties.record
    assert record is not None
    if not holds(node) or not record.spread_version or not may_act(view):
        return None
    if not placed_as_planned(duties.assigned, record):
        return None
    return EndSpread(session=session, term=view.token.term, version=record.version)


def _take(node: Node, duties: TaskState, view: View, session: str, now: float) -> TakeTasks | None:
    record = duties.record
    if record is None or not may_act(view) or node.epoch is None or node.epoch.returned:
        return None
    timing = node.timing
    if not fresh(node.trusted_until, now, timing.lease_s, timing.heartbeat_s):
        return None
    wanted = [
        WantedTask(
            task=task,
            seen_term=token.term,
            next_term=next_term(token.term, duties.remembered.get(task, 0)),
        )
        for task in duties.wanted()
        if (token := record.token(task)).free and now >= duties.cool_until.get(task, now)
    ]
    if not wanted:
        return None
    return TakeTasks(
        session=session,
        version=record.version,
        branch=view.identity.branch,
        wanted=tuple(wanted[:BATCH_MAX]),
    )


def _look_again_at(node: Node, duties: TaskState) -> float:
    """Return when to read again what changes without a new version.

    That is a token that another node still holds, tasks on their way to a new Member, or a pupil
    whose progress is not known yet.
    """
    record = duties.record
    if record is None:
        return float("inf")
    waits = not all(record.token(task).free for task in duties.wanted())
    waits = waits or (bool(record.spread_version) and holds(node))
    if not waits and next(_pupils(node, record), None) is None:
        return float("inf")
    return duties.read_at + node.timing.heartbeat_s


def _pupils(node: Node, record: GroupRecord) -> Iterator[NodeRecord]:
    """Yield the nodes whose catch-up this node checks: its own when there is no Member."""
    for pupil in record.nodes.values():
        if pupil.live and not pupil.caught_up and pupil.standing is not Standing.MEMBER:
            mentor = mentor_of(node.policy.group, pupil.node, record)
            if node.policy.node == (mentor or pupil.node):
                yield pupil


def _catch_up(node: Node, record: GroupRecord, session: str) -> CatchUp | None:
    """Confirm that a pupil is caught up, once it has acted on the record in this life (H6)."""
    for pupil in _pupils(node, record):
        ready = pupil.node == node.policy.node or pupil.seen_version >= 0
        if ready and pupil.session is not None:
            return CatchUp(
                session=session,
                version=max(0, pupil.seen_version),
                pupil=pupil.node,
                pupil_session=pupil.session,
            )
    return None


def _upkeep(node: Node, duties: TaskState, session: str, now: float) -> Request | None:
    record = duties.record
    assert record is not None, "the record was read"
    caught_up = _catch_up(node, record, session)
    if caught_up is not None:
        return caught_up
    floors = tuple((task, term) for task, term in duties.forgotten if task not in duties.works)
    if floors:
        return RaiseTaskFloors(floors=floors[:BATCH_MAX])
    return tell(node, duties, session, now)


def duty_moments(node: Node) -> Iterator[float]:
    """Yield every moment at which the tasks alone would lead to a command."""
    duties = node.duties
    if duties is None or node.session is None or node.leaving is not None:
        return
    for work in duties.works.values():
        hung = hung_at(work)
        if hung is not None and not work.ending:
            yield hung
        if work.run is None and not work.ending:
            yield work.restarts.start_at
    if holds(node):
        yield alert_at(node, duties)
    if node.pending is None and node.view is not None:
        yield from _asking_moments(node, duties)


def _asking_moments(node: Node, duties: TaskState) -> Iterator[float]:
    if must_read(node):
        yield duties.read_at + READ_PAUSE_S
        return
    yield max(_look_again_at(node, duties), duties.read_at + READ_PAUSE_S)
    if _watches(node):
        yield duties.watch_at
    manners = manners_of(node)
    if holds(node) and duties.watched is not None and manners is not None:
        yield max(
            observer.next_at(duties.watched, duties.watched.looked_at, manners),
            duties.watch_at,
        )
    for task in duties.wanted():
        yield duties.cool_until.get(task, float("-inf"))
    yield tell_at(node, duties)

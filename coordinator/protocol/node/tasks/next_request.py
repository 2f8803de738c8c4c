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
from coordinator.protocol.node.state.node import Node, holds, observer_policy_of
from coordinator.protocol.node.state.tasks import TaskState, hung_at
from coordinator.protocol.node.tasks.report import alert_at, report, report_at
from coordinator.protocol.rules.epoch import may_act
from coordinator.protocol.rules.planned import takes_paused
from coordinator.protocol.rules.terms import next_term
from coordinator.protocol.rules.trust import fresh

#: Shortest time between two reads of the record, in seconds: twenty nodes that join one after the
#: other must not make each node read a thousand tasks twenty times.
READ_PAUSE_S = 0.1
#: Tokens per request: a thousand tasks of one node are taken in a few transactions.
BATCH_MAX = 200


def must_read(node: Node) -> bool:
    """Say whether the record is older than the version that the last answer showed (rule D4)."""
    task_state, view = node.task_state, node.view
    if task_state is None or view is None:
        return False
    record = task_state.record
    return (
        record is None
        or not task_state.current
        or task_state.stale
        or record.version != view.group_version
    )


def next_task_request(node: Node, now: float) -> Request | None:
    """Choose the task request that matters most now; None when nothing is due."""
    task_state, view, session = node.task_state, node.view, node.session
    if task_state is None or view is None or session is None or node.leaving is not None:
        return None
    if must_read(node) or now >= _look_again_at(node, task_state):
        # A program whose trust depends on this read must not wait for a pause.
        in_need = task_state.running() and not task_state.current
        return ReadGroup() if in_need or now >= task_state.read_at + READ_PAUSE_S else None
    given = _given(task_state, now)
    if given:
        return ReleaseTasks(session=session, given=given)
    if _watches(node) and now >= task_state.watch_at:
        return WatchSessions()
    return (
        _decide(node, task_state, view, session, now)
        or _take(node, task_state, view, session, now)
        or _end_spread(node, task_state, view, session)
        or _upkeep(node, task_state, session, now)
    )


def _given(task_state: TaskState, now: float) -> tuple[GivenTask, ...]:
    """Return the tokens that can be given back: nothing of their programs is left."""
    over = (
        work
        for work in task_state.works.values()
        if work.ending and work.run is None and not work.lost
    )
    given = (
        GivenTask(
            task=work.task,
            term=work.term,
            reason=work.ending,
            failed=work.failed,
            done=work.done,
            ended_s=0.0 if work.ended_at is None else max(0.0, now - work.ended_at),
        )
        for work in over
    )
    return tuple(given)[:BATCH_MAX]


def _watches(node: Node) -> bool:
    """Say whether this node watches the sessions: the observer, and the first in its line.

    The deputy watches so that it already knows what the observer knew, should it succeed it.
    """
    return holds(node) or node.place == 0


def _decide(
    node: Node, task_state: TaskState, view: View, session: str, now: float
) -> Decide | None:
    observer_policy, record = observer_policy_of(node), task_state.record
    if not holds(node) or task_state.watched is None or task_state.decided or not may_act(view):
        return None
    assert observer_policy is not None
    assert record is not None
    decided = observer.decisions(task_state.watched, record.suspended, now, observer_policy)
    if not decided:
        return None
    return Decide(
        session=session,
        term=view.token.term,
        version=view.group_version,
        decisions=decided[:BATCH_MAX],
    )


def _end_spread(node: Node, task_state: TaskState, view: View, session: str) -> EndSpread | None:
    """Have the observer record that nothing is left to move, once that is so (P4)."""
    record = task_state.record
    assert record is not None
    if not holds(node) or not record.spread_version or not may_act(view):
        return None
    if not placed_as_planned(task_state.assigned, record):
        return None
    return EndSpread(session=session, term=view.token.term, version=record.version)


def _take(
    node: Node, task_state: TaskState, view: View, session: str, now: float
) -> TakeTasks | None:
    record = task_state.record
    if record is None or not may_act(view) or node.epoch is None or node.epoch.returned:
        return None
    if takes_paused(record.planned) is not None:
        return None  # the placement names the holder, who may have given the task up since
    timing = node.timing
    if not fresh(node.trusted_until, now, timing.lease_s, timing.heartbeat_s):
        return None
    wanted = [
        WantedTask(
            task=task,
            seen_term=token.term,
            next_term=next_term(token.term, task_state.remembered.get(task, 0)),
        )
        for task in task_state.wanted()
        if (token := record.token(task)).free and now >= task_state.cool_until.get(task, now)
    ]
    if not wanted:
        return None
    return TakeTasks(
        session=session,
        version=record.version,
        branch=view.identity.branch,
        wanted=tuple(wanted[:BATCH_MAX]),
    )


def _look_again_at(node: Node, task_state: TaskState) -> float:
    """Return when to read again what changes without a new version.

    That is a token that another node still holds, tasks on their way to a new Member, or a pupil
    whose progress is not known yet.
    """
    record = task_state.record
    if record is None:
        return float("inf")
    waits = not all(record.token(task).free for task in task_state.wanted())
    waits = waits or (bool(record.spread_version) and holds(node))
    if not waits and next(_pupils(node, record), None) is None:
        return float("inf")
    return task_state.read_at + node.timing.heartbeat_s


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


def _upkeep(node: Node, task_state: TaskState, session: str, now: float) -> Request | None:
    record = task_state.record
    assert record is not None, "the record was read"
    caught_up = _catch_up(node, record, session)
    if caught_up is not None:
        return caught_up
    floors = tuple(
        (task, term) for task, term in task_state.forgotten if task not in task_state.works
    )
    if floors:
        return RaiseTaskFloors(floors=floors[:BATCH_MAX])
    return report(node, task_state, session, now)


def task_moments(node: Node) -> Iterator[float]:
    """Yield every moment at which the tasks alone would lead to a command."""
    task_state = node.task_state
    if task_state is None or node.session is None or node.leaving is not None:
        return
    for work in task_state.works.values():
        hung = hung_at(work)
        if hung is not None and not work.ending:
            yield hung
        if work.run is None and not work.ending:
            yield work.restarts.start_at
    if holds(node):
        yield alert_at(node, task_state)
    if node.pending is None and node.view is not None:
        yield from _asking_moments(node, task_state)


def _asking_moments(node: Node, task_state: TaskState) -> Iterator[float]:
    if must_read(node):
        yield task_state.read_at + READ_PAUSE_S
        return
    yield max(_look_again_at(node, task_state), task_state.read_at + READ_PAUSE_S)
    if _watches(node):
        yield task_state.watch_at
    observer_policy = observer_policy_of(node)
    if holds(node) and task_state.watched is not None and observer_policy is not None:
        yield max(
            observer.next_at(task_state.watched, task_state.watched.looked_at, observer_policy),
            task_state.watch_at,
        )
    for task in task_state.wanted():
        yield task_state.cool_until.get(task, float("-inf"))
    yield report_at(node, task_state)

"""Intake of events about a node's tasks: answers, ends of programs, the loss of all."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from coordinator.protocol.group import observer
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.messages.holder_requests import Exchange
from coordinator.protocol.messages.requests import Answer, Take
from coordinator.protocol.messages.task_requests import (
    CatchUp,
    ChangeStanding,
    Decide,
    EndSpread,
    RaiseTaskFloors,
    ReadGroup,
    ReleaseTasks,
    ReportTasks,
    TakeTasks,
    TaskRequest,
    WatchSessions,
)
from coordinator.protocol.node.events import (
    Answered,
    Command,
    KillProgram,
    LogLine,
    ProgramEnded,
    ProgramProgressed,
    ProgramRefused,
    ProgramStopping,
)
from coordinator.protocol.node.state.node import Node, observer_policy_of
from coordinator.protocol.node.state.tasks import TaskHolding, TaskState, raised
from coordinator.protocol.node.tasks.program_end import (
    dropped,
    ended,
    failure_noted,
    noted,
    refused,
    rejoined,
)
from coordinator.protocol.node.tasks.read_record import read
from coordinator.protocol.node.tasks.report import last_error

Step = tuple[Node, tuple[Command, ...]]
ProgramEvent = ProgramRefused | ProgramStopping | ProgramEnded | ProgramProgressed

#: Share of a heartbeat after which a refused decision is tried again.
AGAIN_SHARE = 0.25
#: Name in the log of a decision about a dead or silent node.
SESSION_ENDED = "session ended"


def in_doubt(node: Node) -> Node:
    """Return the node after a failure: what was read proves nothing any more.

    Watched sessions stay, until the next read confirms them or starts them anew (rule B1).
    """
    if node.task_state is None:
        return node
    return replace(node, task_state=replace(node.task_state, current=False))


def moved(node: Node) -> Node:
    """Return the node after an answer from another history of the database (rule D6)."""
    if node.task_state is None:
        return node
    return replace(node, task_state=replace(node.task_state, current=False))


def notified(node: Node) -> Node:
    """Return the node after a push: a token that it waits for may be free now."""
    task_state = node.task_state
    if task_state is None or task_state.record is None:
        return node
    waits = next(task_state.wanted(), None) is not None
    return replace(node, task_state=replace(task_state, stale=task_state.stale or waits))


def lose_all(node: Node, reason: str, now: float) -> Step:
    """Kill every program of the session that is over, except those that continue without it."""
    task_state = node.task_state
    if task_state is None:
        return node, ()
    commands: list[Command] = []
    works: dict[str, TaskHolding] = {}
    detached = dict(task_state.detached)
    for task, work in task_state.works.items():
        run = work.run
        if run is None:
            continue
        if work.stays_detached:
            detached[task] = replace(work, lost=True, detached_since=now)
            commands.append(LogLine("task-apart", (("task", task), ("term", work.term))))
            continue
        works[task] = replace(
            work,
            run=replace(run, stopping=run.stopping or reason, over=True),
            lost=True,
            ending=work.ending or reason,
        )
        commands.append(KillProgram(run.number, reason))
    if task_state.works and not works:
        commands.append(LogLine("tasks-removed", ()))  # all had already ended by themselves
    task_state = replace(
        task_state,
        record=None,
        current=False,
        assigned=MappingProxyType({}),
        mine=(),
        works=works,
        detached=detached,
        watched=None,
        given_up=raised(task_state.given_up, {t: w.term for t, w in task_state.works.items()}),
        reported=MappingProxyType({}),
        reported_version=-1,
        observing=False,
    )
    return replace(node, task_state=task_state), tuple(commands)


def succeeded(node: Node, request: Take) -> tuple[Command, ...]:
    """Report why the observer's token was taken over: the take ended a session, like a decision."""
    if node.task_state is None or request.seen_beat is None:
        return ()
    return (_decided(request.seen_node, SESSION_ENDED, request.reason),)


# --- answers ------------------------------------------------------------------------------------


def answered(node: Node, event: Answered, request: TaskRequest | Exchange) -> Step:
    """Apply the answer to a task request; an exchange of tokens is its holders' own (U)."""
    if isinstance(request, Exchange):
        return node, ()
    task_state, answer, now = node.task_state, event.answer, event.now
    assert task_state is not None, "only a node with task state sends task requests"
    if node.session is None:
        return node, ()  # the session ended while the request was pending
    match request:
        case ReadGroup():
            return read(node, task_state, answer, now)
        case TakeTasks():
            return _taken(node, task_state, request, answer, now)
        case ReleaseTasks():
            return _released(node, task_state, request, answer, now), ()
        case WatchSessions():
            observer_policy = observer_policy_of(node)
            assert observer_policy is not None
            watched = observer.noted(
                task_state.watched or observer.begin(now),
                answer.sessions,
                answer.view.identity,
                now,
                node.timing.gap_max_s,
                observer_policy,
            )
            watch_at = now + node.timing.heartbeat_s
            task_state = replace(task_state, watched=watched, watch_at=watch_at, decided=False)
            return _with(node, task_state), ()
        case Decide():
            pause_s = 0.0 if answer.done else node.timing.heartbeat_s * AGAIN_SHARE
            lines = _decision_lines(request) if answer.done else ()
            return _with(node, replace(task_state, watch_at=now + pause_s, decided=True)), lines
        case ReportTasks():
            return _with(node, _note_reported(task_state, request, answer, now)), ()
        case CatchUp() | RaiseTaskFloors() | EndSpread():
            return _with(node, replace(task_state, stale=True)), ()


def _taken(
    node: Node, task_state: TaskState, request: TakeTasks, answer: Answer, now: float
) -> Step:
    if request.session != node.session:
        return node, ()
    record = task_state.record
    works, detached = dict(task_state.works), dict(task_state.detached)
    commands: list[Command] = []
    for task, term in answer.taken:
        definition = record.tasks.get(task) if record else None
        definition = definition or TaskDef(name=task, enabled=False)
        # A task that keeps failing shows why, also while it is tried once more.
        work = TaskHolding(definition=definition, term=term, error=last_error(task_state, task))
        left = detached.pop(task, None)
        if left is not None and left.run is not None:
            # It continued without the database, and no other node has had the token since.
            work = rejoined(left, term)
            task_state = noted(task_state, left, now)
        works[task] = work
        commands.append(LogLine("task-taken", (("task", task), ("term", term))))
    missed = not answer.done or len(answer.taken) < len(request.wanted)
    cool = dict(task_state.cool_until)
    if answer.done or answer.view.group_version == request.version:
        # Refused for a reason that another read would not show: another role's fence, for example.
        got = {task for task, _ in answer.taken}
        again_at = now + node.timing.heartbeat_s
        cool |= {one.task: again_at for one in request.wanted if one.task not in got}
    task_state = replace(
        task_state,
        works=works,
        detached=detached,
        cool_until=cool,
        stale=task_state.stale or missed,
        remembered=raised(task_state.remembered, dict(answer.taken)),
    )
    return _with(node, task_state), tuple(commands)


def _released(
    node: Node, task_state: TaskState, request: ReleaseTasks, answer: Answer, now: float
) -> Node:
    if not answer.done or request.session != node.session:
        # The session is over: a heartbeat shows that, and must come before the next attempt.
        return replace(node, beat_at=min(node.beat_at, now))
    for given in request.given:
        work = task_state.works.get(given.task)
        if work is not None and work.term == given.term and work.run is None:
            task_state = dropped(failure_noted(task_state, work), work)
    return _with(node, replace(task_state, stale=True))


def _note_reported(
    task_state: TaskState, request: ReportTasks, answer: Answer, now: float
) -> TaskState:
    if not answer.done:
        return replace(task_state, reported_at=now)
    reported = {**task_state.reported, **{t.task: t for t in request.told if not t.note}}
    notes = tuple(note for note in task_state.notes if note not in request.told)
    return replace(
        task_state,
        reported=reported,
        notes=notes,
        reported_version=request.version,
        reported_at=now,
    )


def _decision_lines(request: Decide) -> tuple[Command, ...]:
    return tuple(
        _decided(
            decision.node,
            f"{decision.before} -> {decision.after}"
            if isinstance(decision, ChangeStanding)
            else SESSION_ENDED,
            decision.reason,
        )
        for decision in request.decisions
    )


def _decided(node: str | None, what: str, why: str) -> LogLine:
    return LogLine("decided", (("about", node), ("what", what), ("why", why)))


# --- programs -----------------------------------------------------------------------------------


def on_program(node: Node, event: ProgramEvent) -> Step | None:
    """Apply an event of a task's program; None when the run belongs to no task."""
    task_state = node.task_state
    work = None if task_state is None else task_state.by_run(event.run)
    if task_state is None or work is None or work.run is None:
        return None
    match event:
        case ProgramProgressed():
            return _with(node, _put(task_state, replace(work, progressed_at=event.now))), ()
        case ProgramStopping():
            # Trust runs out and is not extended any more: this holding is over.
            run = replace(work.run, stopping=work.run.stopping or "trust", over=True)
            work = replace(work, run=run, ending=work.ending or "trust ran short")
            return _with(node, _put(task_state, work)), ()
        case ProgramRefused():
            return refused(node, task_state, work, event)
        case ProgramEnded():
            return ended(node, task_state, work, event)


def _put(task_state: TaskState, work: TaskHolding) -> TaskState:
    if work.detached_since is not None:
        return replace(task_state, detached={**task_state.detached, work.task: work})
    return replace(task_state, works={**task_state.works, work.task: work})


def _with(node: Node, task_state: TaskState) -> Node:
    return replace(node, task_state=task_state)

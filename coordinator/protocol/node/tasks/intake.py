"""Intake of events about a node's tasks: answers, ends of programs, the loss of all."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from coordinator.protocol.group import observer
from coordinator.protocol.messages.group_record import TaskDef
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
from coordinator.protocol.node.state.node import Node, manners_of
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
    if node.duties is None:
        return node
    return replace(node, duties=replace(node.duties, current=False))


def moved(node: Node) -> Node:
    """Return the node after an answer from another history of the database (rule D6)."""
    if node.duties is None:
        return node
    return replace(node, duties=replace(node.duties, current=False))


def notified(node: Node) -> Node:
    """Return the node after a push: a token that it waits for may be free now."""
    duties = node.duties
    if duties is None or duties.record is None:
        return node
    waits = next(duties.wanted(), None) is not None
    return replace(node, duties=replace(duties, stale=duties.stale or waits))


def lose_all(node: Node, reason: str, now: float) -> Step:
    """Kill every program of the session that is over, except those that continue without it."""
    duties = node.duties
    if duties is None:
        return node, ()
    commands: list[Command] = []
    works: dict[str, TaskHolding] = {}
    apart = dict(duties.apart)
    for task, work in duties.works.items():
        run = work.run
        if run is None:
            continue
        if work.stays_apart:
            apart[task] = replace(work, lost=True, apart_since=now)
            commands.append(LogLine("task-apart", (("task", task), ("term", work.term))))
            continue
        works[task] = replace(
            work,
            run=replace(run, stopping=run.stopping or reason, over=True),
            lost=True,
            ending=work.ending or reason,
        )
        commands.append(KillProgram(run.number, reason))
    if duties.works and not works:
        commands.append(LogLine("tasks-removed", ()))  # all had already ended by themselves
    duties = replace(
        duties,
        record=None,
        current=False,
        assigned=MappingProxyType({}),
        mine=(),
        works=works,
        apart=apart,
        watched=None,
        given_up=raised(duties.given_up, {t: w.term for t, w in duties.works.items()}),
        told=MappingProxyType({}),
        told_version=-1,
        observing=False,
    )
    return replace(node, duties=duties), tuple(commands)


def succeeded(node: Node, request: Take) -> tuple[Command, ...]:
    """Report why the observer's token was taken over: the take ended a session, like a decision."""
    if node.duties is None or request.seen_beat is None:
        return ()
    return (_decided(request.seen_node, SESSION_ENDED, request.reason),)


# --- answers ------------------------------------------------------------------------------------


def answered(node: Node, event: Answered, request: TaskRequest) -> Step:
    """Apply the answer to a task request."""
    duties, answer, now = node.duties, event.answer, event.now
    assert duties is not None, "only a node with task state sends task requests"
    if node.session is None:
        return node, ()  # the session ended while the request was pending
    match request:
        case ReadGroup():
            return read(node, duties, answer, now)
        case TakeTasks():
            return _taken(node, duties, request, answer, now)
        case ReleaseTasks():
            return _released(node, duties, request, answer, now), ()
        case WatchSessions():
            manners = manners_of(node)
            assert manners is not None
            watched = observer.noted(
                duties.watched or observer.begin(now),
                answer.sessions,
                answer.view.identity,
                now,
                node.timing.gap_max_s,
                manners,
            )
            watch_at = now + node.timing.heartbeat_s
            duties = replace(duties, watched=watched, watch_at=watch_at, judged=False)
            return _with(node, duties), ()
        case Decide():
            pause_s = 0.0 if answer.done else node.timing.heartbeat_s * AGAIN_SHARE
            told = _told_of(request) if answer.done else ()
            return _with(node, replace(duties, watch_at=now + pause_s, judged=True)), told
        case ReportTasks():
            return _with(node, _noted_told(duties, request, answer, now)), ()
        case CatchUp() | RaiseTaskFloors() | EndSpread():
            return _with(node, replace(duties, stale=True)), ()


def _taken(node: Node, duties: TaskState, request: TakeTasks, answer: Answer, now: float) -> Step:
    if request.session != node.session:
        return node, ()
    record = duties.record
    works, apart = dict(duties.works), dict(duties.apart)
    commands: list[Command] = []
    for task, term in answer.taken:
        definition = record.tasks.get(task) if record else None
        definition = definition or TaskDef(name=task, enabled=False)
        # A task that keeps failing shows why, also while it is tried once more.
        work = TaskHolding(definition=definition, term=term, error=last_error(duties, task))
        left = apart.pop(task, None)
        if left is not None and left.run is not None:
            # It continued without the database, and no other node has had the token since.
            work = rejoined(left, term)
            duties = noted(duties, left, now)
        works[task] = work
        commands.append(LogLine("task-taken", (("task", task), ("term", term))))
    missed = not answer.done or len(answer.taken) < len(request.wanted)
    cool = dict(duties.cool_until)
    if answer.done or answer.view.group_version == request.version:
        # Refused for a reason that another read would not show: another role's fence, for example.
        got = {task for task, _ in answer.taken}
        again_at = now + node.timing.heartbeat_s
        cool |= {one.task: again_at for one in request.wanted if one.task not in got}
    duties = replace(
        duties,
        works=works,
        apart=apart,
        cool_until=cool,
        stale=duties.stale or missed,
        remembered=raised(duties.remembered, dict(answer.taken)),
    )
    return _with(node, duties), tuple(commands)


def _released(
    node: Node, duties: TaskState, request: ReleaseTasks, answer: Answer, now: float
) -> Node:
    if not answer.done or request.session != node.session:
        # The session is over: a heartbeat shows that, and must come before the next attempt.
        return replace(node, beat_at=min(node.beat_at, now))
    for given in request.given:
        work = duties.works.get(given.task)
        if work is not None and work.term == given.term and work.run is None:
            duties = dropped(failure_noted(duties, work), work)
    return _with(node, replace(duties, stale=True))


def _noted_told(duties: TaskState, request: ReportTasks, answer: Answer, now: float) -> TaskState:
    if not answer.done:
        return replace(duties, told_at=now)
    told = {**duties.told, **{t.task: t for t in request.told if not t.note}}
    notes = tuple(note for note in duties.notes if note not in request.told)
    return replace(duties, told=told, notes=notes, told_version=request.version, told_at=now)


def _told_of(request: Decide) -> tuple[Command, ...]:
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
    duties = node.duties
    work = None if duties is None else duties.by_run(event.run)
    if duties is None or work is None or work.run is None:
        return None
    match event:
        case ProgramProgressed():
            return _with(node, _put(duties, replace(work, progressed_at=event.now))), ()
        case ProgramStopping():
            # Trust runs out and is not extended any more: this holding is over.
            run = replace(work.run, stopping=work.run.stopping or "trust", over=True)
            work = replace(work, run=run, ending=work.ending or "trust ran short")
            return _with(node, _put(duties, work)), ()
        case ProgramRefused():
            return refused(node, duties, work, event)
        case ProgramEnded():
            return ended(node, duties, work, event)


def _put(duties: TaskState, work: TaskHolding) -> TaskState:
    if work.apart_since is not None:
        return replace(duties, apart={**duties.apart, work.task: work})
    return replace(duties, works={**duties.works, work.task: work})


def _with(node: Node, duties: TaskState) -> Node:
    return replace(node, duties=duties)

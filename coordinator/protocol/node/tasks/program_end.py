"""Ends of a task's program, and the giving back of its token."""

from __future__ import annotations

from dataclasses import replace

from coordinator.errors import ScheduleEndedError
from coordinator.protocol.messages.group_record import GroupRecord, OnDone
from coordinator.protocol.messages.task_requests import TaskReport
from coordinator.protocol.node.events import Command, LogLine, ProgramEnded, ProgramRefused
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.tasks import TaskHolding, TaskState
from coordinator.protocol.node.tasks.report import NOTES_MAX
from coordinator.protocol.rules.restarts import Restarts, crash_loop, status_words
from coordinator.protocol.rules.restarts import ended as counted

Step = tuple[Node, tuple[Command, ...]]

#: Reason for stopping a program whose task was changed: it is restarted under the same token.
CHANGED = "the task was changed"
#: Limit of the terms kept for deleted tasks: they matter only if a failover loses the rows.
TERMS_MAX = 10_000
#: Heartbeats for which a task that its program wished to release is left to other nodes.
COOL_BEATS = 2


def ended(node: Node, task_state: TaskState, work: TaskHolding, event: ProgramEnded) -> Step:
    """Decide the consequence of a run's end; everything of the run is dead."""
    run = work.run
    assert run is not None
    why = run.stopping or event.why
    fields = (("task", work.task), ("status", event.status), ("why", why), ("term", run.term))
    line = LogLine("task-ended", (*fields, ("forced", event.forced)))
    # The end of a schedule is in the record, written by the schedule's own process.
    quiet = run.stopping or event.status == 0 or _terminated(work, event)
    error = "" if quiet else status_words(event.status)
    ended_at = event.now if event.at is None else min(event.at, event.now)
    work = replace(work, run=None, error=error or work.error, ended_at=ended_at)
    if work.detached_since is not None:
        return _end_detached(node, task_state, work, event.now), (line,)
    if work.lost or node.session is None:
        return _remove(node, task_state, work, line)
    failed = work.failed
    if not work.ending and run.stopping != CHANGED:
        if run.stopping or event.why != "itself":
            work = replace(work, ending="trust ran short")
        else:
            work, task_state = _ended_itself(
                node, task_state, work, event, event.now - run.started_at
            )
    looped = (("task", work.task), ("why", work.ending))
    loops = (LogLine("task-crash-loop", looped),) if work.failed and not failed else ()
    return _put(node, _cooled(node, task_state, work, event.now), work), (line, *loops)


def refused(node: Node, task_state: TaskState, work: TaskHolding, event: ProgramRefused) -> Step:
    """Let other nodes go first when the program's file is the cause of its refusal."""
    fields = (("task", work.task), ("why", event.why))
    line = LogLine("task-refused", fields)
    work = replace(work, run=None, error=event.why)
    if work.detached_since is not None:
        return _end_detached(node, task_state, work, event.now), (line,)
    if work.lost or node.session is None:
        return _remove(node, task_state, work, line)
    if event.code:
        # Other groups read the history; the error's own text is for the task's group only.
        why = f"its program could not be started (exit code {event.code})"
        work = replace(work, ending=work.ending or why, failed=True)
    elif not work.ending:
        work = _counted(work, 0.0, event.now)
    return _put(node, _cooled(node, task_state, work, event.now), work), (line,)


def dropped(task_state: TaskState, work: TaskHolding) -> TaskState:
    """Return the state without a task whose token is given back or lost; its term is used up."""
    works = {task: kept for task, kept in task_state.works.items() if task != work.task}
    given_up = max(task_state.given_up.get(work.task, 0), work.term)
    return replace(task_state, works=works, given_up={**task_state.given_up, work.task: given_up})


def failure_noted(task_state: TaskState, work: TaskHolding) -> TaskState:
    """Return the state with a note for the database on why the task was given up, if it failed."""
    if not work.failed:
        return task_state
    error = work.error or work.ending
    note = TaskReport(task=work.task, state="idle", term=work.term, error=error, note="failed")
    return replace(task_state, notes=(*task_state.notes, note)[-NOTES_MAX:])


def rejoined(work: TaskHolding, term: int) -> TaskHolding:
    """Return a task that continued detached, under the term that this session now has for it."""
    return replace(work, term=term, lost=False, ending="", detached_since=None)


def tidied(task_state: TaskState, record: GroupRecord, now: float) -> TaskState:
    """Return the state without what is known of deleted tasks, once that has grown large."""
    cool = {task: until for task, until in task_state.cool_until.items() if until > now}
    reported = {
        task: entry
        for task, entry in task_state.reported.items()
        if task in record.tasks or entry.state != "idle"
    }
    task_state = replace(task_state, cool_until=cool, reported=reported)
    if len(task_state.remembered) <= TERMS_MAX:
        return task_state
    kept = (
        record.tasks.keys()
        | record.tokens.keys()
        | task_state.works.keys()
        | task_state.detached.keys()
    )
    return replace(
        task_state,
        remembered={task: term for task, term in task_state.remembered.items() if task in kept},
        given_up={task: term for task, term in task_state.given_up.items() if task in kept},
    )


def noted(task_state: TaskState, work: TaskHolding, now: float) -> TaskState:
    """Return the state with a note for the database on a program that continued without it."""
    assert work.detached_since is not None
    since_s = max(0.0, now - work.detached_since)
    note = TaskReport(
        task=work.task,
        state="idle",
        term=work.term,
        error=f"went on for {since_s:.1f} s without the database; it may have run twice",
        note="ran-apart",
    )
    return replace(task_state, notes=(*task_state.notes, note)[-NOTES_MAX:])


def _remove(node: Node, task_state: TaskState, work: TaskHolding, line: Command) -> Step:
    """Forget a task whose token is lost; the last one gets a line in the log (H4)."""
    task_state = dropped(task_state, work)
    last = node.session is None and not task_state.running()
    removed = (LogLine("tasks-removed", ()),) if last else ()
    return replace(node, task_state=task_state), (line, *removed)


def _end_detached(node: Node, task_state: TaskState, work: TaskHolding, now: float) -> Node:
    detached = {task: kept for task, kept in task_state.detached.items() if task != work.task}
    return replace(
        node, task_state=replace(noted(task_state, work, now), detached=detached, stale=True)
    )


def _ended_itself(
    node: Node, task_state: TaskState, work: TaskHolding, event: ProgramEnded, ran_s: float
) -> tuple[TaskHolding, TaskState]:
    if _terminated(work, event):
        return replace(work, ending="its schedule was terminated", done=True), task_state
    match work.definition.on_done:
        case OnDone.FINISH if event.status == 0:
            return replace(work, ending="the task is done", done=True), task_state
        case OnDone.RELEASE:
            until = event.now + COOL_BEATS * node.timing.heartbeat_s
            cool = {**task_state.cool_until, work.task: until}
            return replace(work, ending="its program ended"), replace(task_state, cool_until=cool)
        case OnDone.RESTART | OnDone.FINISH:
            return _counted(work, ran_s, event.now), task_state


def _terminated(work: TaskHolding, event: ProgramEnded) -> bool:
    """Say whether a schedule was ended by its error policy, for the whole group."""
    return event.status == ScheduleEndedError.exit_code and work.definition.scheduled


def _counted(work: TaskHolding, ran_s: float, now: float) -> TaskHolding:
    """Restart it a little later each time; after a crash loop another node goes first."""
    restarts = counted(work.restarts, ran_s, now)
    if not crash_loop(restarts):
        return replace(work, restarts=restarts)
    why = f"its program failed {restarts.quick_ends} times in a row"
    return replace(work, restarts=Restarts(start_at=restarts.start_at), ending=why, failed=True)


def _cooled(node: Node, task_state: TaskState, work: TaskHolding, now: float) -> TaskState:
    """Leave a task that failed here to other nodes for a while; back off if there are none."""
    if not work.failed:
        return task_state
    until = now + node.timing.liveness_s
    return replace(task_state, cool_until={**task_state.cool_until, work.task: until})


def _put(node: Node, task_state: TaskState, work: TaskHolding) -> Node:
    return replace(
        node, task_state=replace(task_state, works={**task_state.works, work.task: work})
    )

"""Reports of a node about its tasks, for people; no decision depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

from coordinator.protocol.messages.task_requests import ReportTasks, TaskReport
from coordinator.protocol.node.events import Command, LogLine
from coordinator.protocol.node.state.node import Node, holds, observer_policy_of
from coordinator.protocol.node.state.tasks import TaskHolding, TaskState

#: Changes are collected for this many seconds; a person expects to see them within one.
REPORT_PAUSE_S = 0.2
#: Reports in one request.
REPORTS_MAX = 200
#: An alert is raised when it has lasted for the observer's grace and this many heartbeats.
ALERT_BEATS = 2
#: Alerts with the same reason, beyond this number, share a line of the log.
ALERTS_SINGLE_MAX = 3
#: Limit of the notes kept while the database is away; older ones are dropped.
NOTES_MAX = 200


def report(node: Node, task_state: TaskState, session: str, now: float) -> ReportTasks | None:
    """Return what the database does not know yet, when a report is due."""
    if now < report_at(node, task_state):
        return None
    assert task_state.record is not None, "a report follows a read"
    news = (*task_state.notes, *_news(task_state))
    return ReportTasks(session=session, version=task_state.record.version, told=news[:REPORTS_MAX])


def report_at(node: Node, task_state: TaskState) -> float:  # noqa: ARG001
    """Return when a report is due; infinity when the database knows everything."""
    if task_state.record is None:
        return float("inf")
    known = task_state.reported_version == task_state.record.version and not task_state.notes
    if known and next(_news(task_state), None) is None:
        return float("inf")
    return task_state.reported_at + REPORT_PAUSE_S


def alarm(node: Node, task_state: TaskState, now: float) -> TaskState:
    """Note since when each task waits for something a person may have to do; observer only (H8)."""
    if task_state.record is None or not holds(node):
        return replace(task_state, alerted=frozenset(), alarming=MappingProxyType({}))
    alerts = {(task, to.node is None) for task, to in task_state.assigned.items() if to.alert}
    alarming = {alert: task_state.alarming.get(alert, now) for alert in alerts}
    return replace(task_state, alerted=task_state.alerted & alerts, alarming=alarming)


def raise_alerts(node: Node, now: float) -> tuple[Node, tuple[Command, ...]]:
    """Have the observer raise lasting alerts, once: a group that starts has no Member at first."""
    task_state = node.task_state
    if task_state is None or task_state.record is None or now < alert_at(node, task_state):
        return node, ()
    hold_s, record = _hold_s(node), task_state.record
    due = {one for one, since in task_state.alarming.items() if now >= since + hold_s}
    fresh = sorted((task, task_state.assigned[task].reason) for task, _ in due - task_state.alerted)
    notes = tuple(
        TaskReport(task=task, state="", term=record.token(task).term, error=why, note="alert")
        for task, why in fresh
    )
    notes = (*task_state.notes, *notes)[-NOTES_MAX:]
    task_state = replace(task_state, alerted=task_state.alerted | due, notes=notes)
    return replace(node, task_state=task_state), tuple(_lines(fresh))


def alert_at(node: Node, task_state: TaskState) -> float:
    """Return when the next alert is due; infinity while there is none."""
    waiting = (since for one, since in task_state.alarming.items() if one not in task_state.alerted)
    return min(waiting, default=float("inf")) + _hold_s(node)


def _hold_s(node: Node) -> float:
    observer_policy = observer_policy_of(node)
    grace_s = 0.0 if observer_policy is None else observer_policy.grace_s
    return grace_s + ALERT_BEATS * node.timing.heartbeat_s


def _lines(fresh: Sequence[tuple[str, str]]) -> Iterator[LogLine]:
    """Yield a line for each alert; those with one reason share a line when they are many."""
    reasons = dict.fromkeys(why for _, why in fresh)
    for reason in reasons:
        tasks = [task for task, why in fresh if why == reason]
        if len(tasks) <= ALERTS_SINGLE_MAX:
            yield from (LogLine("alert", (("task", task), ("why", reason))) for task in tasks)
            continue
        named = f"{', '.join(tasks[:ALERTS_SINGLE_MAX])} and {len(tasks) - ALERTS_SINGLE_MAX} more"
        yield LogLine("alert", (("task", named), ("why", reason)))


def _news(task_state: TaskState) -> Iterator[TaskReport]:
    for work in (*task_state.works.values(), *task_state.detached.values()):
        entry = _state(work)
        if entry.state != "idle" and task_state.reported.get(work.task) != entry:
            yield entry
    for task, entry in task_state.reported.items():
        if (
            entry.state != "idle"
            and task not in task_state.works
            and task not in task_state.detached
        ):
            yield replace(entry, state="idle", error=last_error(task_state, task))


def last_error(task_state: TaskState, task: str) -> str:
    """Return why the task last failed here, as far as this node knows."""
    for note in reversed(task_state.notes):
        if note.task == task and note.note == "failed":
            return note.error
    return task_state.reported[task].error if task in task_state.reported else ""


def _state(work: TaskHolding) -> TaskReport:
    if work.detached_since is not None:
        state = "apart"
    elif work.run is None:
        state = "stopping" if work.ending else "backing off" if work.restarts.quick_ends else "idle"
    else:
        state = "stopping" if work.run.stopping else "running"
    return TaskReport(task=work.task, state=state, term=work.term, error=work.error)

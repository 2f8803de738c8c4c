"""Reports of a node about its tasks, for people; no decision depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

from coordinator.protocol.messages.task_requests import ReportTasks, TaskReport
from coordinator.protocol.node.events import Command, LogLine
from coordinator.protocol.node.state.node import Node, holds, manners_of
from coordinator.protocol.node.state.tasks import TaskHolding, TaskState

#: Changes are collected for this many seconds; a person expects to see them within one.
TELL_PAUSE_S = 0.2
#: Reports in one request.
TOLD_MAX = 200
#: An alert is raised when it has lasted for the observer's grace and this many heartbeats.
ALERT_BEATS = 2
#: Alerts with the same reason, beyond this number, share a line of the log.
ALERTS_APART_MAX = 3
#: Limit of the notes kept while the database is away; older ones are dropped.
NOTES_MAX = 200


def tell(node: Node, duties: TaskState, session: str, now: float) -> ReportTasks | None:
    """Return what the database does not know yet, when a report is due."""
    if now < tell_at(node, duties):
        return None
    assert duties.record is not None, "a report follows a read"
    news = (*duties.notes, *_news(duties))
    return ReportTasks(session=session, version=duties.record.version, told=news[:TOLD_MAX])


def tell_at(node: Node, duties: TaskState) -> float:  # noqa: ARG001
    """Return when a report is due; infinity when the database knows everything."""
    if duties.record is None:
        return float("inf")
    known = duties.told_version == duties.record.version and not duties.notes
    if known and next(_news(duties), None) is None:
        return float("inf")
    return duties.told_at + TELL_PAUSE_S


def alarm(node: Node, duties: TaskState, now: float) -> TaskState:
    """Note since when each task waits for something a person may have to do; observer only (H8)."""
    if duties.record is None or not holds(node):
        return replace(duties, alerted=frozenset(), alarming=MappingProxyType({}))
    alerts = {(task, to.node is None) for task, to in duties.assigned.items() if to.alert}
    alarming = {alert: duties.alarming.get(alert, now) for alert in alerts}
    return replace(duties, alerted=duties.alerted & alerts, alarming=alarming)


def raise_alerts(node: Node, now: float) -> tuple[Node, tuple[Command, ...]]:
    """Have the observer raise lasting alerts, once: a group that starts has no Member at first."""
    duties = node.duties
    if duties is None or duties.record is None or now < alert_at(node, duties):
        return node, ()
    hold_s, record = _hold_s(node), duties.record
    due = {one for one, since in duties.alarming.items() if now >= since + hold_s}
    fresh = sorted((task, duties.assigned[task].reason) for task, _ in due - duties.alerted)
    notes = tuple(
        TaskReport(task=task, state="", term=record.token(task).term, error=why, note="alert")
        for task, why in fresh
    )
    notes = (*duties.notes, *notes)[-NOTES_MAX:]
    duties = replace(duties, alerted=duties.alerted | due, notes=notes)
    return replace(node, duties=duties), tuple(_lines(fresh))


def alert_at(node: Node, duties: TaskState) -> float:
    """Return when the next alert is due; infinity while there is none."""
    waiting = (since for one, since in duties.alarming.items() if one not in duties.alerted)
    return min(waiting, default=float("inf")) + _hold_s(node)


def _hold_s(node: Node) -> float:
    manners = manners_of(node)
    grace_s = 0.0 if manners is None else manners.grace_s
    return grace_s + ALERT_BEATS * node.timing.heartbeat_s


def _lines(fresh: Sequence[tuple[str, str]]) -> Iterator[LogLine]:
    """Yield a line for each alert; those with one reason share a line when they are many."""
    reasons = dict.fromkeys(why for _, why in fresh)
    for reason in reasons:
        tasks = [task for task, why in fresh if why == reason]
        if len(tasks) <= ALERTS_APART_MAX:
            yield from (LogLine("alert", (("task", task), ("why", reason))) for task in tasks)
            continue
        named = f"{', '.join(tasks[:ALERTS_APART_MAX])} and {len(tasks) - ALERTS_APART_MAX} more"
        yield LogLine("alert", (("task", named), ("why", reason)))


def _news(duties: TaskState) -> Iterator[TaskReport]:
    for work in (*duties.works.values(), *duties.apart.values()):
        told = _state(work)
        if told.state != "idle" and duties.told.get(work.task) != told:
            yield told
    for task, told in duties.told.items():
        if told.state != "idle" and task not in duties.works and task not in duties.apart:
            yield replace(told, state="idle", error=last_error(duties, task))


def last_error(duties: TaskState, task: str) -> str:
    """Return why the task last failed here, as far as this node knows."""
    for note in reversed(duties.notes):
        if note.task == task and note.note == "failed":
            return note.error
    return duties.told[task].error if task in duties.told else ""


def _state(work: TaskHolding) -> TaskReport:
    if work.apart_since is not None:
        state = "apart"
    elif work.run is None:
        state = "stopping" if work.ending else "backing off" if work.restarts.quick_ends else "idle"
    else:
        state = "stopping" if work.run.stopping else "running"
    return TaskReport(task=work.task, state=state, term=work.term, error=work.error)

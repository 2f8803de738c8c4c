"""What a node tells the database about its tasks, for people to read; nothing is decided by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from coordinator.protocol.duties import Duties, Work
from coordinator.protocol.events import Command, Report
from coordinator.protocol.node import Node, holds
from coordinator.protocol.task_requests import TaskTold, TellTasks

#: Changes are gathered for so many seconds; a person asks to see them within one.
TELL_PAUSE_S = 0.2
#: Lines in one request.
TOLD_MAX = 200
#: Notes that wait while the database is away; older ones are dropped.
NOTES_MAX = 200


def tell(node: Node, duties: Duties, session: str, now: float) -> TellTasks | None:
    """Return what the database does not know yet, when it is time to say so."""
    if now < tell_at(node, duties):
        return None
    assert duties.record is not None, "who tells has read"
    news = (*duties.notes, *_news(duties))
    return TellTasks(session=session, version=duties.record.version, told=news[:TOLD_MAX])


def tell_at(node: Node, duties: Duties) -> float:  # noqa: ARG001
    """Return when to tell; infinity when the database knows everything."""
    if duties.record is None:
        return float("inf")
    known = duties.told_version == duties.record.version and not duties.notes
    if known and next(_news(duties), None) is None:
        return float("inf")
    return duties.told_at + TELL_PAUSE_S


def alert(node: Node, duties: Duties) -> tuple[Duties, tuple[Command, ...]]:
    """Have the observer say, once, which tasks wait for what a person may have to do (H8)."""
    record = duties.record
    if record is None or not holds(node):
        return replace(duties, alerted=frozenset()), ()
    alerts = {(task, to.node is None) for task, to in duties.assigned.items() if to.alert}
    fresh = sorted((task, duties.assigned[task].reason) for task, _ in alerts - duties.alerted)
    notes = tuple(
        TaskTold(task=task, state="", term=record.token(task).term, error=why, note="alert")
        for task, why in fresh
    )
    told = tuple(Report("alert", (("task", task), ("why", why))) for task, why in fresh)
    notes = (*duties.notes, *notes)[-NOTES_MAX:]
    return replace(duties, alerted=frozenset(alerts), notes=notes), told


def _news(duties: Duties) -> Iterator[TaskTold]:
    for work in (*duties.works.values(), *duties.apart.values()):
        told = _state(work)
        if told.state != "idle" and duties.told.get(work.task) != told:
            yield told
    for task, told in duties.told.items():
        if told.state != "idle" and task not in duties.works and task not in duties.apart:
            yield replace(told, state="idle", error=last_error(duties, task))


def last_error(duties: Duties, task: str) -> str:
    """Return why the task failed here last, as far as this node knows."""
    for note in reversed(duties.notes):
        if note.task == task and note.note == "failed":
            return note.error
    return duties.told[task].error if task in duties.told else ""


def _state(work: Work) -> TaskTold:
    if work.apart_since is not None:
        state = "apart"
    elif work.run is None:
        state = "stopping" if work.ending else "backing off" if work.restarts.quick_ends else "idle"
    else:
        state = "stopping" if work.run.stopping else "running"
    return TaskTold(task=work.task, state=state, term=work.term, error=work.error)

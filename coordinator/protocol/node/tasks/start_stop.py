"""Starts and stops of a node's tasks, as the group's record demands."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.group.placement import responsible
from coordinator.protocol.messages.group_record import GroupRecord, OnPartition, Standing, TaskDef
from coordinator.protocol.node.events import Command, LogLine, StartProgram, StopProgram
from coordinator.protocol.node.state.node import Node, holds
from coordinator.protocol.node.state.run import Run
from coordinator.protocol.node.state.tasks import TaskHolding, TaskState, hung_at
from coordinator.protocol.node.tasks.next_request import must_read
from coordinator.protocol.node.tasks.program_end import CHANGED
from coordinator.protocol.node.tasks.report import raise_alerts
from coordinator.protocol.rules.epoch import may_act
from coordinator.protocol.rules.trust import fresh

Step = tuple[Node, tuple[Command, ...]]

#: A program that continues without the database has no deadline; its guardian still owns it.
DETACHED_UNTIL = 1e12


def start_or_stop(node: Node, now: float) -> Step:
    """Bring the programs that run here in line with the record."""
    task_state = node.task_state
    if task_state is None:
        return node, ()
    if node.leaving is not None:
        return _stop_all(node, task_state, node.leaving.reason)
    commands: list[Command] = []
    if node.session is not None and task_state.record is not None and task_state.current:
        for work in tuple(task_state.works.values()):
            node, decided = _decide_held(node, task_state.record, work, now)
            commands += decided
        for work in tuple(task_state.detached.values()):
            node, decided = _decide_detached(node, work)
            commands += decided
    node, alerts = raise_alerts(node, now)
    return _note_observing(node, [*commands, *alerts])


def _decide_held(node: Node, record: GroupRecord, work: TaskHolding, now: float) -> Step:
    """Decide about one held task: end it, restart it, start it, or leave it alone."""
    if work.lost or work.ending:
        return node, ()
    why, failed = _why_not(node, record, work, now)
    if why:
        error = why if failed else work.error
        return _stop(node, replace(work, ending=why, failed=failed, error=error), why)
    definition = record.tasks[work.task]
    if definition.revision != work.definition.revision:
        if work.run is not None:
            return (node, ()) if work.run.stopping else _stop(node, work, CHANGED)
        work = TaskHolding(definition=definition, term=work.term)
        node = _put(node, work)
    elif definition is not work.definition and work.run is None:
        work = replace(work, definition=definition)
        node = _put(node, work)
    if work.run is None and _may_start(node, work, now):
        return _start(node, work, now)
    return node, ()


def _why_not(node: Node, record: GroupRecord, work: TaskHolding, now: float) -> tuple[str, bool]:
    """Return why this node must give the task up, if so, and whether it failed here."""
    definition = record.tasks.get(work.task)
    if definition is None:
        return "the task was deleted", False
    if not definition.enabled:
        return "the task was disabled", False
    assert node.task_state is not None
    verdict = node.task_state.assigned[work.task]
    if verdict.node != node.policy.node:
        whose = f"it belongs to {verdict.node}: " if verdict.node else ""
        return f"{whose}{verdict.reason}", False
    hung = hung_at(work)
    if hung is not None and now >= hung:
        return f"no progress for {work.definition.progress_s:g} s", True
    return "", False


def _decide_detached(node: Node, work: TaskHolding) -> Step:
    """End a program that continued without the database, unless the task is still this node's."""
    task_state = node.task_state
    assert task_state is not None
    assert task_state.record is not None
    if task_state.record.token(work.task).free and _would_be_mine(node, task_state.record, work):
        return node, ()  # it is about to be taken again, and then continues
    if work.run is None or work.run.stopping:
        return node, ()
    why = "it went on without the database, and is another node's by now"
    run = replace(work.run, stopping=why)
    detached = {**task_state.detached, work.task: replace(work, run=run)}
    return replace(node, task_state=replace(task_state, detached=detached)), (
        StopProgram(run.number, why),
    )


def _would_be_mine(node: Node, record: GroupRecord, work: TaskHolding) -> bool:
    """Say whether a task belongs here, or would if this node were a Member already.

    After an outage of the database no node is a Member for a while, and the task stays free.
    """
    assert node.task_state is not None
    verdict, definition = node.task_state.assigned.get(work.task), record.tasks.get(work.task)
    me = record.nodes.get(node.policy.node)
    if verdict is None or definition is None or me is None:
        return False
    if verdict.node is not None or me.standing is Standing.MEMBER:
        return verdict.node == node.policy.node
    nodes = {**record.nodes, me.node: replace(me, standing=Standing.MEMBER)}
    group = node.policy.group
    return responsible(group, definition, replace(record, nodes=nodes)).node == me.node


def _may_start(node: Node, work: TaskHolding, now: float) -> bool:
    """Say whether a held task's program may be started now (rules S1 and D5)."""
    task_state, view, timing = node.task_state, node.view, node.timing
    if view is None or task_state is None or not may_act(view) or must_read(node):
        return False
    stop_s = timing.last_stop_s(stop_timeout_s(node, work.definition))
    return (
        work.term > task_state.given_up.get(work.task, 0)
        and work.restarts.start_at <= now < node.trusted_until - stop_s
        and fresh(node.trusted_until, now, timing.lease_s, timing.heartbeat_s)
    )


def stop_timeout_s(node: Node, definition: TaskDef) -> float:
    """Return the seconds between SIGTERM and SIGKILL for a task's program."""
    return definition.stop_timeout_s or node.timing.stop_timeout_s


def _start(node: Node, work: TaskHolding, now: float) -> Step:
    run = Run(node.run_count + 1, work.term, now)
    node = replace(node, run_count=run.number)
    node = _put(node, replace(work, run=run, progressed_at=now))
    detached = work.definition.on_partition is OnPartition.CONTINUE
    until = DETACHED_UNTIL if detached else node.trusted_until
    # Without a deadline, too, it starts under trust: a node that was paused since has none.
    start_by = node.trusted_until if detached else float("inf")
    return node, (StartProgram(run.number, run.term, until, work.task, start_by),)


def _stop(node: Node, work: TaskHolding, why: str) -> Step:
    run = work.run
    if run is None or run.stopping:
        return _put(node, work), ()
    node = _put(node, replace(work, run=replace(run, stopping=why)))
    return node, (StopProgram(run.number, why),)


def _stop_all(node: Node, task_state: TaskState, why: str) -> Step:
    commands: list[Command] = []
    for work in tuple(task_state.works.values()):
        node, commands_of_stop = _stop(node, replace(work, ending=work.ending or why), why)
        commands += commands_of_stop
    for work in tuple(task_state.detached.values()):
        assert node.task_state is not None
        if work.run is not None and not work.run.stopping:
            run = replace(work.run, stopping=why)
            detached = {**node.task_state.detached, work.task: replace(work, run=run)}
            node = replace(node, task_state=replace(node.task_state, detached=detached))
            commands.append(StopProgram(run.number, why))
    return node, tuple(commands)


def _put(node: Node, work: TaskHolding) -> Node:
    assert node.task_state is not None
    works = {**node.task_state.works, work.task: work}
    return replace(node, task_state=replace(node.task_state, works=works))


def _note_observing(node: Node, commands: list[Command]) -> Step:
    """Report once when this node has become the observer, or has ceased to be it."""
    task_state = node.task_state
    assert task_state is not None
    observing = holds(node)
    if node.view is not None and observing != task_state.observing:
        word = "observing" if observing else "observing-no-more"
        commands.append(LogLine(word, ()))
        node = replace(node, task_state=replace(task_state, observing=observing))
    return node, tuple(commands)

"""Intake of the group's record: this session's tokens, and the assignment of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from coordinator.protocol.group.placement import assignment
from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.protocol.messages.group_record import GroupRecord, TaskDef
from coordinator.protocol.messages.requests import Answer, Candidate
from coordinator.protocol.node.events import (
    Command,
    ExtendTrust,
    KillProgram,
    LogLine,
)
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.node.state.tasks import TaskHolding, TaskState, raised
from coordinator.protocol.node.tasks.program_end import noted, rejoined, tidied
from coordinator.protocol.node.tasks.report import alarm
from coordinator.protocol.rules.planned import draining
from coordinator.protocol.rules.ranking import rank

Step = tuple[Node, tuple[Command, ...]]


def renewed(node: Node) -> tuple[Command, ...]:
    """Extend the trust of every program whose token is known to be this session's (rule D6)."""
    task_state = node.task_state
    if task_state is None or not task_state.current:
        return ()
    if not any(work.run and not work.run.over for work in task_state.works.values()):
        return ()
    return (ExtendTrust(EVERY_RUN, node.trusted_until),)


def read(node: Node, task_state: TaskState, answer: Answer, now: float) -> Step:
    """Adopt the record: a token that it does not show as this session's is lost."""
    record = answer.group
    assert record is not None, "ReadGroup answers with the group"
    works: dict[str, TaskHolding] = {}
    detached = dict(task_state.detached)
    commands: list[Command] = []
    given_up = dict(task_state.given_up)
    for task, work in task_state.works.items():
        token = record.token(task)
        if work.lost or (token.session == node.session and token.term == work.term):
            works[task] = work
            continue
        given_up[task] = max(given_up.get(task, 0), work.term)
        commands.append(LogLine("task-lost", (("task", task), ("term", work.term))))
        if work.run is not None:
            why = "the database names another holding"
            works[task] = replace(
                work,
                lost=True,
                ending=why,
                run=replace(work.run, stopping=work.run.stopping or why, over=True),
            )
            commands.append(KillProgram(work.run.number, why))
    # A take whose answer was lost did happen if the token is this session's.
    for task, token in record.tokens.items():
        mine = token.session == node.session and not token.free
        left = detached.get(task)
        if mine and left is not None:
            if left.run is not None and not left.run.stopping:
                task_state = noted(task_state, detached.pop(task), now)
                works[task] = rejoined(left, token.term)
            continue  # a detached program that is being stopped must be dead first
        if mine and task not in works:
            definition = record.tasks.get(task) or TaskDef(name=task, enabled=False)
            # A failover may have lost the giving back: then it is done once more.
            over = "it was given up before" if token.term <= given_up.get(task, 0) else ""
            works[task] = TaskHolding(definition=definition, term=token.term, ending=over)
    terms = {task: max(token.term, token.floor) for task, token in record.tokens.items()}
    assigned = assignment(node.policy.group, record)
    task_state = replace(
        task_state,
        record=record,
        current=True,
        stale=False,
        read_at=now,
        assigned=assigned,
        mine=tuple(task for task, to in assigned.items() if to.node == node.policy.node),
        works=works,
        detached=detached,
        given_up=given_up,
        remembered=raised(task_state.remembered, terms),
    )
    task_state = tidied(task_state, record, now)
    task_state = replace(task_state, forgotten=_forgotten(task_state, terms))
    task_state = alarm(node, task_state, now)
    node = replace(node, task_state=task_state, place=_place(node, record))
    return node, (*commands, *renewed(node))


def _forgotten(task_state: TaskState, terms: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return, once for each record, the terms that a failover took back: terms only rise."""
    return tuple(
        (task, term) for task, term in task_state.remembered.items() if terms.get(task, term) < term
    )


def _place(node: Node, record: GroupRecord) -> int:
    """Return this node's place in the succession of the observer."""
    assert node.view is not None, "an answer brings a view"
    drained = draining(record.planned)
    able = (n for n in record.nodes.values() if n.live and n.node not in drained)
    roster = [Candidate(node=n.node, priority=n.priority) for n in able]
    return rank(node.policy.group, node.policy.node, node.view.token.node, roster)

"""Bugs planted in what an operation rests on; the simulation must find each of them."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.operations import hung, machine
from coordinator.protocol.operations.machine import Operation, OperationState, Subtask
from coordinator.protocol.operations.types import SubtaskState
from tests.simulation.operations.world import Rules


def claimed_blindly(operation: Operation, key: str, version: int, node: str, session: str):
    """Q1: claims what was PENDING when it was seen, whatever has become of it."""
    subtask = operation.subtasks[key]
    if subtask.state not in machine.OPEN or operation.state not in machine.BEGINS:
        return operation, None
    free = replace(subtask, state=SubtaskState.PENDING, version=version)
    operation = replace(operation, subtasks={**operation.subtasks, key: free})
    return machine.claimed(operation, key, version, node, session)


def claimed_although_cancelled(operation: Operation, key: str, version: int, node: str, session):
    """Q6: does not look at the operation."""
    running = replace(operation, state=OperationState.RUNNING)
    after, term = machine.claimed(running, key, version, node, session)
    return (after, term) if term is not None else (operation, None)


def given_back_although_cancelled(operation: Operation, over, removed=lambda _: False):
    """Q6: a claim that is given back is PENDING again, and the operation runs again."""
    if operation.state is OperationState.CANCELLING:
        operation = replace(operation, state=OperationState.RUNNING)
    return machine.given_back(operation, over, removed)


def given_back_from_the_living(operation: Operation, _over, removed=lambda _: False):
    """Q3: takes every claim for a lost one."""
    return machine.given_back(operation, lambda _subtask: True, removed)


def every_claim_is_good(operation: Operation, key: str, term: int, session: str) -> bool:
    """Q5: writes results under any term."""
    return True


def ended_by_anybody(operation: Operation, key: str, _term, _session, end, planned=()):
    """Q5: writes an end whoever has the claim, also of a subtask that had ended."""
    subtask: Subtask = operation.subtasks[key]
    opened = replace(subtask, state=SubtaskState.RUNNING)
    operation = replace(operation, subtasks={**operation.subtasks, key: opened})
    return machine.ended(operation, key, opened.term, str(opened.session), end, planned)


def silent_at_once(_owners, look, me, _now):
    """Q4: ends the session of an owner without a wait."""
    return tuple(each for each in look.owners if each.node != me and not each.ended)


def hung_at_once(_claims, look, _limits, me, _now):
    """Q9: gives back the claim of a worker that was only just seen."""
    return tuple(
        hung.Hung(subtask=each, reports=each.reports)
        for each in look.open
        if each.state is SubtaskState.RUNNING and each.owner != me
    )


def missed_at_once(signs, _now):
    """J1: kills a worker that was only just seen."""
    return signs, True


#: The bug, and the checks of which at least one must tell of it.
PLANTED: dict[str, tuple[Rules, set[str]]] = {
    "Q1 no compare-and-set": (Rules(claimed=claimed_blindly), {"overlap"}),
    "Q2 a worker that outlives its session": (Rules(kill_after_s=9.0), {"overlap"}),
    "Q3 claims are taken from the living": (
        Rules(given_back=given_back_from_the_living),
        {"overlap"},
    ),
    "Q4 no wait for a silent owner": (Rules(silent=silent_at_once), {"overlap"}),
    "Q5 results without the fence": (
        Rules(is_claim=every_claim_is_good, idempotent=False),
        {"effects"},
    ),
    "Q5 a type that is not idempotent": (Rules(idempotent=False), {"effects"}),
    "Q6 claimed although it is cancelled": (
        Rules(claimed=claimed_although_cancelled, given_back=given_back_although_cancelled),
        {"after cancel"},
    ),
    "Q9 a claim is given back without a wait": (Rules(hung=hung_at_once), {"overlap"}),
    "Q9 a worker that hangs is not noticed": (Rules(hung=lambda *_: ()), {"end"}),
    "J1 a node does not watch its worker": (
        Rules(missed=lambda signs, _: (signs, False)),
        {"end"},
    ),
    "J1 a worker is killed without a wait": (Rules(missed=missed_at_once), {"killed"}),
    "J2 figures that stand still are a sign of life": (Rules(lives=lambda *_: True), {"end"}),
    "Q8 an operation that never ends": (Rules(given_back=lambda op, *_: op), {"end"}),
}

"""The life of an operation and its subtasks, as pure transitions (rules Q1, Q3, Q5 to Q8).

    operation  PENDING -> RUNNING -> COMPLETE | COMPLETE_WITH_ERRORS | FAILED
               PENDING | RUNNING -> CANCELLING -> CANCELLED
    subtask    PENDING -> RUNNING -> DONE | SKIPPED | LOST | FAILED;  RUNNING -> PENDING

The functions of migrations/sql/operation_functions.sql are the same transitions on rows;
tests/conformance compares the two on random histories, and the simulation runs these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from coordinator.protocol.operations.types import PlannedSubtask, SubtaskEnd, SubtaskState

#: Owners that are lost before a subtask has failed: it may be what kills them (Q7).
ATTEMPTS_MAX = 10
CANCELLED_REASON = "cancelled"


class OperationState(StrEnum):
    """State of an operation."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    COMPLETE = "COMPLETE"
    COMPLETE_WITH_ERRORS = "COMPLETE_WITH_ERRORS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


BEGINS = (OperationState.PENDING, OperationState.RUNNING)
UNFINISHED = (*BEGINS, OperationState.CANCELLING)
OPEN = (SubtaskState.PENDING, SubtaskState.RUNNING)
BAD = (SubtaskState.LOST, SubtaskState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtask:
    """One subtask; (owner, session, term) is its claim while it is RUNNING."""

    entity: str
    plan: bool = False
    node: str | None = None
    state: SubtaskState = SubtaskState.PENDING
    version: int = 1
    owner: str | None = None
    session: str | None = None
    term: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation in one group; subtasks by a key of the caller's choice."""

    state: OperationState = OperationState.PENDING
    waits: bool = False
    subtasks: Mapping[str, Subtask] = field(default_factory=dict)


def claimed(
    operation: Operation, key: str, version: int, node: str, session: str
) -> tuple[Operation, int | None]:
    """Claim a subtask that is still as it was seen; None: nothing happened (Q1)."""
    subtask = operation.subtasks[key]
    if (
        operation.state not in BEGINS
        or operation.waits
        or subtask.state is not SubtaskState.PENDING
        or subtask.version != version
        or subtask.node not in (None, node)
    ):
        return operation, None
    subtask = replace(
        subtask,
        state=SubtaskState.RUNNING,
        owner=node,
        session=session,
        term=subtask.term + 1,
        attempt=subtask.attempt + 1,
        version=subtask.version + 1,
    )
    operation = replace(_with(operation, key, subtask), state=OperationState.RUNNING)
    return operation, subtask.term


def is_claim(operation: Operation, key: str, term: int, session: str) -> bool:
    """Say whether (term, session) is the present claim of a subtask (Q5)."""
    subtask = operation.subtasks[key]
    return (
        subtask.state is SubtaskState.RUNNING
        and subtask.term == term
        and subtask.session == session
    )


def ended(
    operation: Operation,
    key: str,
    term: int,
    session: str,
    end: SubtaskEnd,
    planned: Iterable[PlannedSubtask] = (),
) -> tuple[Operation, bool]:
    """End a claim, and perhaps the operation; false: it is not the present claim (Q5, Q8)."""
    if not is_claim(operation, key, term, session):
        return operation, False
    over = operation.state is OperationState.CANCELLING
    state = SubtaskState.SKIPPED if over and end.state is SubtaskState.PENDING else end.state
    operation = _with(operation, key, _left(operation.subtasks[key], state))
    first = SubtaskState.SKIPPED if over else SubtaskState.PENDING
    made = {
        each.entity: Subtask(entity=each.entity, node=each.node, state=first) for each in planned
    }
    operation = replace(operation, subtasks={**made, **operation.subtasks})
    return settled(operation), True


def given_back(
    operation: Operation,
    over: Callable[[Subtask], bool],
    removed: Callable[[str], bool] = lambda _node: False,
) -> Operation:
    """Give back the claims whose sessions are over, and end what no node can run (Q3, Q6, Q7).

    over: says of a running subtask whether its claim's session is over, or its worker is dead.
    removed: says of a node whether it was removed.
    """
    for key, subtask in operation.subtasks.items():
        match subtask.state:
            case SubtaskState.RUNNING if over(subtask):
                again = SubtaskState.PENDING
                if subtask.attempt >= ATTEMPTS_MAX:
                    again = SubtaskState.FAILED
            case SubtaskState.PENDING if subtask.node is not None and removed(subtask.node):
                again = SubtaskState.FAILED
            case _:
                continue
        if operation.state is OperationState.CANCELLING:
            again = SubtaskState.SKIPPED
        operation = _with(operation, key, _left(subtask, again))
    return settled(operation)


def given_back_hung(operation: Operation, key: str, version: int) -> Operation:
    """Give back the claim that hangs, if it is the one that was seen (Q9)."""
    seen = operation.subtasks[key]
    if seen.state is not SubtaskState.RUNNING or seen.version != version:
        return operation
    return given_back(operation, lambda subtask: subtask is seen)


def cancelled(operation: Operation) -> Operation:
    """Cancel an operation that is not finished; what nobody runs ends at once (Q6)."""
    if operation.state not in BEGINS:
        return operation
    subtasks = {
        key: _left(subtask, SubtaskState.SKIPPED)
        if subtask.state is SubtaskState.PENDING
        else subtask
        for key, subtask in operation.subtasks.items()
    }
    return settled(replace(operation, state=OperationState.CANCELLING, subtasks=subtasks))


def settled(operation: Operation) -> Operation:
    """Finish an operation of which no subtask is open (Q8)."""
    states = [subtask.state for subtask in operation.subtasks.values()]
    if operation.state not in UNFINISHED or any(state in OPEN for state in states):
        return operation
    good = any(
        subtask.state in (SubtaskState.DONE, SubtaskState.SKIPPED) and not subtask.plan
        for subtask in operation.subtasks.values()
    )
    if operation.state is OperationState.CANCELLING:
        state = OperationState.CANCELLED
    elif not any(state in BAD for state in states):
        state = OperationState.COMPLETE
    else:
        state = OperationState.COMPLETE_WITH_ERRORS if good else OperationState.FAILED
    return replace(operation, state=state, waits=False)


def _left(subtask: Subtask, state: SubtaskState) -> Subtask:
    """Return a subtask that nobody runs any more."""
    subtask = replace(subtask, state=state, version=subtask.version + 1)
    if state is SubtaskState.PENDING:
        return replace(subtask, owner=None, session=None)
    return subtask


def _with(operation: Operation, key: str, subtask: Subtask) -> Operation:
    return replace(operation, subtasks={**operation.subtasks, key: subtask})

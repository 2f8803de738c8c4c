"""Planned changes of a MemoryDatabase: asked for by an administrator, ended once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.messages.planned import (
    HANDOVERS,
    NOTHING_PLANNED,
    PAUSES,
    SETTINGS,
    EndPlanned,
    Planned,
    PlannedChange,
    PlannedKind,
    PlannedOutcome,
    TellInterval,
)
from coordinator.protocol.messages.requests import NodeFacts
from tests.support.fakes import memory_interval
from tests.support.fakes.memory_rows import PlannedRow

if TYPE_CHECKING:
    from tests.support.fakes.memory_database import MemoryDatabase

#: A switchover that nobody carries out runs out after this.
HANDOVER_LASTS_S = 600.0


class AskRefusedError(Exception):
    """The database refuses what cannot be carried out, whatever happens until then."""


def ask(
    database: MemoryDatabase,
    group: str,
    kind: PlannedKind,
    node: str | None = None,
    *,
    value: int | None = None,
    in_s: float | None = None,
    for_s: float | None = None,
) -> int:
    """Ask for a change, as an administrator does; return its number.

    Errors: AskRefusedError.
    """
    _refuse(database, group, kind, node, value)
    now = database.now()
    due_at = None if in_s is None else now + in_s
    if kind in HANDOVERS and for_s is None:
        for_s = HANDOVER_LASTS_S
    row = PlannedRow(
        id=1 + len(database.planned),
        group=group,
        kind=kind,
        node=node,
        value=value,
        who="ana",
        reason="test",
        due_at=due_at,
        until_at=None if for_s is None else (due_at or now) + for_s,
    )
    database.planned[row.id] = row
    memory_interval.agree(database, group)
    database.raise_version(group, "planned")
    return row.id


def end_by_person(database: MemoryDatabase, group: str, number: int) -> bool:
    """Cancel or end a change, as an administrator does."""
    return _end(database, group, number, PlannedOutcome.CANCELLED, "")


def open_rows(database: MemoryDatabase, group: str) -> Iterator[PlannedRow]:
    """Yield the open changes of a group."""
    return (row for row in database.planned.values() if row.group == group and row.outcome is None)


def planned(database: MemoryDatabase, group: str) -> Planned:
    """Return the open changes as a view shows them."""
    now = database.now()
    changes = tuple(
        PlannedChange(
            id=row.id,
            kind=row.kind,
            node=row.node,
            who=row.who,
            reason=row.reason,
            wait_s=0.0 if row.due_at is None else max(0.0, row.due_at - now),
            left_s=None if row.until_at is None else row.until_at - now,
            value=row.value,
            agreed=row.agreed,
        )
        for row in open_rows(database, group)
    )
    return Planned(read_us=1 + round(now * 1e6), changes=changes) if changes else NOTHING_PLANNED


def carry_out(
    database: MemoryDatabase, facts: NodeFacts, request: EndPlanned | TellInterval
) -> bool:
    """End a change, or note the interval that a session tells."""
    if isinstance(request, TellInterval):
        return memory_interval.tell(database, facts, request)
    return end(database, facts, request)


def end(database: MemoryDatabase, facts: NodeFacts, request: EndPlanned) -> bool:
    """Record an end; a time is over by the server's clock."""
    row = database.planned.get(request.id)
    expired = request.outcome is PlannedOutcome.EXPIRED
    if expired and (row is None or row.until_at is None or row.until_at > database.now()):
        return False
    return _end(database, facts.group, request.id, request.outcome, request.reason)


def end_by_take(
    database: MemoryDatabase, facts: NodeFacts, last: str | None, term: int, *, followed: bool
) -> None:
    """End the switchover that is due, in the transaction that takes the token."""
    for row in tuple(open_rows(database, facts.group)):
        if row.kind not in HANDOVERS or (row.due_at or 0.0) > database.now():
            continue
        if row.kind is PlannedKind.RESIGN:
            well = facts.node != row.node
        else:
            well = facts.node == row.node if row.node is not None else facts.node != last
        if well or not followed:
            outcome = PlannedOutcome.DONE if well else PlannedOutcome.EXPIRED
            late = "" if well else ": nobody else took it in time"
            why = f"{facts.node} has the token, term {term}{late}"
            _end(database, facts.group, row.id, outcome, why)


def priority(database: MemoryDatabase, group: str, node: str, own: int) -> int:
    """Return the priority that was set for a node, else its own."""
    chosen = (
        row.value
        for row in open_rows(database, group)
        if row.kind is PlannedKind.PRIORITY and row.node == node and row.value is not None
    )
    return next(chosen, own)


def _end(
    database: MemoryDatabase, group: str, number: int, outcome: PlannedOutcome, reason: str
) -> bool:
    row = database.planned.get(number)
    if row is None or row.group != group or row.outcome is not None:
        return False
    database.planned[number] = replace(row, outcome=outcome, outcome_reason=reason)
    database.raise_version(group, "planned")
    of_tasks = any(
        known.facts is not None and known.facts.hosts_tasks
        for (of, _), known in database.nodes.items()
        if of == group
    )
    if row.kind is PlannedKind.DRAIN and of_tasks:
        database.spreads[group] = database.versions[group]
    return True


def _refuse(
    database: MemoryDatabase, group: str, kind: PlannedKind, node: str | None, value: int | None
) -> None:
    if group not in database.versions:
        raise AskRefusedError("no group")
    rows = {name: row for (of, name), row in database.nodes.items() if of == group and row.session}
    if node is not None and node not in rows:
        raise AskRefusedError("no node")
    if kind in SETTINGS and (why := memory_interval.refusal(database, group, value or 0)):
        raise AskRefusedError(why)
    for row in open_rows(database, group):
        same = row.kind is kind and row.node == node and not row.agreed
        if same or any(kind in kinds and row.kind in kinds for kinds in (HANDOVERS, PAUSES)):
            raise AskRefusedError("open already")
    of_tasks = any(row.facts is not None and row.facts.hosts_tasks for row in rows.values())
    if kind in HANDOVERS and of_tasks:
        raise AskRefusedError("spreads tasks")
    if kind is PlannedKind.DRAIN or (kind is PlannedKind.PRIORITY and value == 0):
        drained = {row.node for row in open_rows(database, group) if row.kind is PlannedKind.DRAIN}
        now = database.now()
        others = (
            name
            for name, row in rows.items()
            if name not in (node, *drained)
            and row.facts is not None
            and not row.ended
            and now - row.beat_at < row.facts.liveness_s
            and priority(database, group, name, row.facts.priority) > 0
        )
        if next(others, None) is None:
            raise AskRefusedError("no other")

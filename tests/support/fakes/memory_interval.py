"""The livenessCheckInterval of a group in a MemoryDatabase: told by nodes, agreed on by all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.group.interval import fits
from coordinator.protocol.messages.planned import PlannedKind, PlannedOutcome, TellInterval
from coordinator.protocol.messages.requests import NodeFacts
from coordinator.protocol.rules.timing import Timing, lease_of
from tests.support.fakes.memory_rows import NodeRow, PlannedRow

if TYPE_CHECKING:
    from tests.support.fakes.memory_database import MemoryDatabase


def settings(database: MemoryDatabase, group: str) -> list[PlannedRow]:
    """Return the intervals that were set and count, or are to count; the newest last."""
    return [
        row
        for row in database.planned.values()
        if row.group == group and row.kind is PlannedKind.LIVENESS and row.outcome is None
    ]


def tell(database: MemoryDatabase, facts: NodeFacts, request: TellInterval) -> bool:
    """Write the interval of a session, unless another one was asked for since."""
    key, known = (facts.group, facts.node), settings(database, facts.group)
    newest = known[-1].id if known else 0
    row = database.nodes.get(key)
    if newest != request.change or row is None or row.facts is None:
        return False
    if not database.session_lives(facts.group, facts.node, request.session):
        return False
    told = replace(row.facts, liveness_s=request.liveness_s, lease_s=request.lease_s)
    database.nodes[key] = replace(row, facts=told)
    if agree(database, facts.group):
        database.raise_version(facts.group, "planned")
    return True


def agree(database: MemoryDatabase, group: str) -> bool:
    """Mark the newest interval as agreed on when every live node has told that it has it."""
    known = settings(database, group)
    if not known or known[-1].agreed:
        return False
    newest = known[-1]
    wanted_s = (newest.value or 0) / 1000
    for row in _live(database, group, wanted_s):
        if row.facts is not None and row.facts.liveness_s != wanted_s:
            return False
    for row in known[:-1]:
        over = replace(row, outcome=PlannedOutcome.DONE, outcome_reason="another value")
        database.planned[row.id] = over
    database.planned[newest.id] = replace(newest, agreed=True)
    return True


def refusal(database: MemoryDatabase, group: str, value_ms: int) -> str:
    """Return why the group cannot have an interval; empty: it can."""
    for row in _live(database, group, value_ms / 1000):
        if row.facts is None or row.facts.heartbeat_s <= 0:
            continue
        beats = Timing(liveness_s=60 * row.facts.heartbeat_s, heartbeat_s=row.facts.heartbeat_s)
        if not fits(beats, value_ms / 1000):
            return f"{value_ms} ms: no lease for two heartbeats ({lease_of(value_ms / 1000):.2f} s)"
    return ""


def _live(database: MemoryDatabase, group: str, wanted_s: float) -> list[NodeRow]:
    now = database.now()
    return [
        row
        for (of, _), row in database.nodes.items()
        if of == group
        and row.facts is not None
        and row.session is not None
        and not row.ended
        and now - row.beat_at < max(row.facts.liveness_s, wanted_s)
    ]

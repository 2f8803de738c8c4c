"""The next request about planned changes, and the moments at which one becomes due."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.protocol.messages.planned import (
    HANDOVERS,
    EndPlanned,
    PlannedChange,
    PlannedOutcome,
    TellInterval,
)
from coordinator.protocol.messages.requests import ReadRoster
from coordinator.protocol.node.planned.give_way import due_handover, hindered
from coordinator.protocol.node.planned.interval import next_tell, tell_moments
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules.ranking import head_start

RAN_OUT = "its time was over"
NOT_CARRIED_OUT = "its time was over before it was carried out"


def next_planned_request(node: Node, now: float) -> EndPlanned | ReadRoster | TellInterval | None:
    """Choose the request that a planned change needs now; None when it needs none."""
    return _end_or_look(node, now) or next_tell(node, now)


def _end_or_look(node: Node, now: float) -> EndPlanned | ReadRoster | None:
    """Choose the request by which a change is ended, or the standbys are read for one."""
    if node.view is None or node.session is None or now < node.planned.retry_at:
        return None
    over = next((one for one in node.view.planned.changes if now >= _over_at(node, one)), None)
    if over is not None:
        why = NOT_CARRIED_OUT if over.kind in HANDOVERS else RAN_OUT
        return EndPlanned(id=over.id, outcome=PlannedOutcome.EXPIRED, reason=why)
    change = due_handover(node)
    if change is None:
        return None
    why_not = hindered(node, change, now)
    if why_not is None:
        return ReadRoster()
    return EndPlanned(id=change.id, outcome=PlannedOutcome.REFUSED, reason=why_not)


def looks(node: Node, now: float) -> bool:
    """Say whether the next heartbeat reads everything: a change may count from now on."""
    return any(now >= moment for moment in _due_moments(node))


def planned_moments(node: Node) -> Iterator[float]:
    """Yield every moment at which a planned change alone would lead to a request."""
    if node.view is None or node.session is None:
        return
    yield from _due_moments(node)
    yield from tell_moments(node)
    for change in node.view.planned.changes:
        yield max(_over_at(node, change), node.planned.retry_at)
    if due_handover(node) is not None:
        yield node.planned.retry_at


def _due_moments(node: Node) -> Iterator[float]:
    """Yield when each change that waits for its time begins to count, by this node's clock.

    The view after that decides: it has the server's own judgement.
    """
    if node.view is None or node.view.planned.read_us != node.planned.read.read_us:
        return
    for change in node.view.planned.changes:
        if change.wait_s > 0:
            yield node.planned.read_at + change.wait_s


def _over_at(node: Node, change: PlannedChange) -> float:
    """Return when to record that the time of a change is over: the first in line goes first."""
    if change.left_s is None:
        return float("inf")
    return node.planned.read_at + max(0.0, change.left_s) + head_start(node.place)

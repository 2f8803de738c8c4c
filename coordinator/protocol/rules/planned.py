"""Effects of planned changes on who may take, run and keep a token (docs/protocol.md, rules A).

A planned change never gives a right: it only takes some away. So whatever these functions answer,
a token changes hands by the rules R alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.protocol.messages.planned import (
    HANDOVERS,
    SETTINGS,
    Planned,
    PlannedChange,
    PlannedKind,
)
from coordinator.protocol.messages.requests import Candidate
from coordinator.protocol.rules.ranking import head_start

#: Heartbeats for which all others leave a released token to the target of a switchover. A node
#: that hears of the release by its next heartbeat only still comes first.
HANDOVER_BEATS = 2.0
#: A standby whose heartbeat is older than this many of its own intervals is behind.
BEHIND_BEATS = 2.5


def work_paused(planned: Planned) -> PlannedChange | None:
    """Return the pause by which nobody runs the group's work."""
    return _first(planned, (PlannedKind.PAUSE_WORK,))


def takes_paused(planned: Planned) -> PlannedChange | None:
    """Return the pause by which nobody takes a token, be it of work or of takeovers."""
    return _first(planned, (PlannedKind.PAUSE_WORK, PlannedKind.PAUSE_TAKEOVERS))


def draining(planned: Planned) -> frozenset[str]:
    """Return the nodes that give up what they hold and take nothing."""
    return frozenset(
        change.node
        for change in planned.changes
        if change.kind is PlannedKind.DRAIN and change.node is not None
    )


def drain_of(planned: Planned, node: str) -> PlannedChange | None:
    """Return the drain of a node."""
    return next(
        (
            change
            for change in planned.changes
            if change.kind is PlannedKind.DRAIN and change.node == node
        ),
        None,
    )


def handover(planned: Planned) -> PlannedChange | None:
    """Return the switchover or resignation that counts now."""
    return _first(planned, HANDOVERS)


def priority_of(planned: Planned, node: str, configured: int) -> int:
    """Return the priority of a node: the one that was set for it, else that of its file."""
    for change in planned.changes:
        if change.kind is PlannedKind.PRIORITY and change.node == node:
            return configured if change.value is None else change.value
    return configured


def may_take(planned: Planned, node: str, *, of_tasks: bool) -> bool:
    """Say whether planned changes leave a node the right to take the token that it races for.

    of_tasks: that is the observer's token. A pause of a task group is one of its tasks.
    """
    paused = takes_paused(planned) is not None and not of_tasks
    return not paused and drain_of(planned, node) is None


def start_after_s(
    planned: Planned, node: str, last_holder: str | None, *, place: int, heartbeat_s: float
) -> float:
    """Return for how long a node leaves a free token to others, in seconds.

    The target of a switchover goes first, and the holder that gave the token up goes last. After
    HANDOVER_BEATS for each of them the ranking goes on as ever (R4).
    """
    change = handover(planned)
    if change is None:
        return head_start(place)
    if change.target == node:
        return 0.0
    turns = (change.target is not None) + (node == last_holder)
    return turns * HANDOVER_BEATS * heartbeat_s + head_start(place)


def hindrance(
    change: PlannedChange, planned: Planned, holder: str, roster: Sequence[Candidate]
) -> str:
    """Return what is in the way of a switchover or resignation, for people; empty: nothing.

    roster: the live nodes of the group, as the holder has just read them.
    """
    paused = takes_paused(planned)
    if paused is not None:
        return f"the group is paused ({said(paused)}): nobody would take the token"
    if change.kind is PlannedKind.RESIGN and change.node != holder:
        return f"{change.node} does not hold the token; {holder} does"
    if change.target == holder:
        return f"{holder} holds the token already"
    drained = draining(planned)
    if change.target is None:
        able = (one for one in roster if one.node != holder and not _unable(one, drained))
        return "" if next(able, None) is not None else "no standby is ready"
    target = next((one for one in roster if one.node == change.target), None)
    return f"{change.target} has no live session" if target is None else _unable(target, drained)


def _unable(one: Candidate, drained: frozenset[str]) -> str:
    """Return why a live node would not take the token; empty: it would."""
    if one.priority <= 0:
        return f"{one.node} has priority 0 and never takes the token"
    if one.node in drained:
        return f"{one.node} is draining"
    if one.age_s > BEHIND_BEATS * one.heartbeat_s:
        return f"{one.node} is behind: its last heartbeat is {one.age_s:.1f} s old"
    return ""


def said(change: PlannedChange) -> str:
    """Return the kind of a change, who asked for it, and why, for people."""
    to = f" to {change.target}" if change.target else ""
    of = f" of {change.node}" if change.kind is PlannedKind.DRAIN else ""
    why = f": {change.reason}" if change.reason else ""
    set_to = f" = {(change.value or 0) / 1000:g} s" if change.kind in SETTINGS else ""
    return f"{change.kind}{to}{of}{set_to} by {change.who or 'somebody'}{why}"


def _first(planned: Planned, kinds: Sequence[PlannedKind]) -> PlannedChange | None:
    found = (one for one in planned.changes if one.kind in kinds and one.wait_s <= 0)
    return next(found, None)

"""Taking over the group's livenessCheckInterval, and telling it (docs/protocol.md, rules I)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from coordinator.protocol.group.interval import (
    Target,
    fits,
    seconds_of,
    settings_of,
    target_of,
    tell_at,
    trusted_s,
)
from coordinator.protocol.messages.planned import TellInterval
from coordinator.protocol.messages.requests import Answer, Join, Request
from coordinator.protocol.node.events import Command, LogLine
from coordinator.protocol.node.state.node import Node, holds
from coordinator.protocol.node.state.planned import IntervalState
from coordinator.protocol.rules.timing import lease_of

Step = tuple[Node, tuple[Command, ...]]

#: The first in line asks again after so many heartbeats whether every live node has the interval:
#: nobody tells that a node which had not told has died.
ASK_BEATS = 2


def adopt(node: Node, request: Request, answer: Answer, *, moved: bool) -> Step:
    """Take over what an answer shows of the group's interval, before trust is counted by it.

    moved: the answer is of another identity of the database, which may lack what was told (I5).
    """
    state, before_s = node.planned.interval, node.timing.liveness_s
    state = replace(state, configured_s=state.configured_s or before_s)
    least_s = min(before_s, state.least_s) if moved else before_s
    if moved and state.told:
        state = replace(state, told=None)  # what was told may be lost
    if isinstance(request, Join) and answer.done:
        # The row has the file's interval now, and no trust of an earlier session is left (L3).
        state = replace(state, told=0, least_s=state.configured_s, long_s=0.0, long_until=-INF)
        least_s = min(before_s, state.configured_s)
    target = target_of(answer.view.planned, node.timing, state.configured_s)
    now_s = trusted_s(target, now_s=least_s, told=state.told)
    if now_s < before_s and not (isinstance(request, Join) and answer.done):
        state = replace(
            state,
            long_s=max(before_s, state.long_s),
            long_until=max(node.trusted_until, state.long_until),
        )
    state, told = _reported(node, state, answer)
    state = replace(state, least_s=min(now_s, state.least_s))
    node = replace(node, planned=replace(node.planned, interval=state))
    if now_s == before_s:
        return node, told
    node = replace(node, timing=replace(node.timing, liveness_s=now_s))
    fields = (("interval_s", now_s), ("before_s", before_s), ("change", target.change))
    return node, (*told, LogLine("interval", fields))


def asked(node: Node, request: Request | None) -> Node:
    """Note that a row may soon show another interval: until the answer it is not known which."""
    if not isinstance(request, TellInterval) or request.change == node.planned.interval.told:
        return node
    return _with(node, replace(node.planned.interval, told=None))


def answered(node: Node, request: TellInterval, answer: Answer, now: float) -> Node:
    """Take in whether the own row shows the interval; if not, the next view tells what is due."""
    again_at = now + ASK_BEATS * node.timing.heartbeat_s
    state = replace(node.planned.interval, again_at=again_at)
    if answer.done and request.session == node.session:
        state = replace(state, told=request.change)
    return _with(node, state)


def next_tell(node: Node, now: float) -> TellInterval | None:
    """Return the interval that the own row is to show from now on; None: nothing is due."""
    moment = _tell_at(node)
    if moment is None or now < moment or node.view is None or node.session is None:
        return None
    target = _target(node)
    return TellInterval(
        session=node.session,
        change=target.change,
        liveness_s=target.liveness_s,
        lease_s=lease_of(target.liveness_s),
    )


def tell_moments(node: Node) -> Iterator[float]:
    """Yield the moment at which an interval is to be told."""
    moment = _tell_at(node)
    if moment is not None:
        yield moment


def _tell_at(node: Node) -> float | None:
    """Return when to tell; None: the row shows the target, and nobody waits for others."""
    if node.view is None or node.session is None or node.leaving is not None:
        return None
    state, target = node.planned.interval, _target(node)
    if state.told == target.change:
        waits = target.change and not target.agreed
        first = holds(node) or node.place == 0
        return state.again_at if waits and first else None
    may_at = tell_at(target, long_s=state.long_s, long_until=state.long_until)
    return max(may_at, state.again_at)


def _target(node: Node) -> Target:
    assert node.view is not None
    return target_of(node.view.planned, node.timing, node.planned.interval.configured_s)


def _reported(
    node: Node, state: IntervalState, answer: Answer
) -> tuple[IntervalState, tuple[Command, ...]]:
    """Report once for each setting that it overrules this node's file, or does not fit here."""
    settings = settings_of(answer.view.planned)
    if not settings or state.reported == settings[-1].id:
        return state, ()
    newest = settings[-1]
    wanted_s = seconds_of(newest)
    fields = (("change", newest.id), ("interval_s", wanted_s))
    state = replace(state, reported=newest.id)
    if not fits(node.timing, wanted_s):
        heartbeat = ("heartbeat_s", node.timing.heartbeat_s)
        return state, (LogLine("interval-unfit", (*fields, heartbeat)),)
    if wanted_s == state.configured_s:
        return state, ()
    return state, (LogLine("interval-overrules", (*fields, ("configured_s", state.configured_s))),)


def _with(node: Node, state: IntervalState) -> Node:
    return replace(node, planned=replace(node.planned, interval=state))


INF = float("inf")

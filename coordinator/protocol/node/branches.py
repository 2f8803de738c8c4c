"""Branches of a node's database: its own, later ones, and those left behind.

docs/protocol.md, rules E1 to E4; `epoch.py` has the rules themselves.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.group.interval import longest_s
from coordinator.protocol.messages.requests import Identity, Join, View
from coordinator.protocol.node.events import Answered, Command, LogLine
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules import epoch
from coordinator.protocol.rules.watch import watched_holder

Step = tuple[Node, tuple[Command, ...]]


def primary_seen(node: Node, now: float, identity: Identity) -> Step:
    """Note a server that takes writes; if it is a later one, query the own server at once (E4).

    It may be a planned switchover, after which the own server is gone. There are two primaries
    only if the own server still answers.
    """
    known = node.epoch
    if known is None:
        return node, ()
    node = replace(node, epoch=epoch.sighted(known, identity, now))
    if epoch.later(identity, known.identity):
        return replace(node, beat_at=min(node.beat_at, now)), ()
    if epoch.later(known.identity, identity):
        return _beside(node, known, now, identity)
    return node, ()


def _beside(node: Node, known: epoch.Epoch, now: float, identity: Identity) -> Step:
    """Report, once, a server that takes writes beside the own one, which is the later of the two.

    No check lasts for a livenessCheckInterval. So a check that ends that long after the first one
    began when the own server already took writes. While answers are dropped, that is reported
    instead.
    """
    before = node.beside
    if (
        before is None
        or not epoch.same_run(before.identity, identity)
        or before.seen_at < now - node.timing.liveness_s
    ):
        return replace(node, beside=epoch.Beside(identity, now, now)), ()
    due = now >= before.since + node.timing.liveness_s and node.refused is None
    node = replace(node, beside=replace(before, seen_at=now, reported=before.reported or due))
    if before.reported or not due:
        return node, ()
    fields = (("timeline", identity.timeline), ("ours", known.identity.timeline))
    return node, (LogLine("second-primary", fields),)


def second_primary(node: Node, now: float) -> int | None:
    """Return the timeline of a primary that takes writes beside the own one; None if none does."""
    beside = node.beside
    if beside is None or not beside.reported or beside.seen_at < now - node.timing.liveness_s:
        return None
    return beside.identity.timeline


def note_silence(node: Node, view: View, now: float) -> Node:
    """Watch the holder on a branch whose answers are dropped: it may be used again (rule E4)."""
    if view.token.session is None:
        return node
    return replace(node, watch=watched_holder(node.watch, view, now, node.timing.gap_max_s))


def observed(node: Node, event: Answered) -> Node:
    """Return the node after an answer: its identity, and what the answer proves about it."""
    before, view, beat = node.epoch, event.answer.view, event.answer.beat
    own_s = max(node.timing.liveness_s, longest_s(view.planned))
    seen = epoch.observe(before, view, event.now, own_s, node.beats)
    known = 0 if before is not None and epoch.changed(before, view) else node.beats
    there = view.token.term >= node.remembered and _row_is_own(event)
    return replace(
        node,
        view=view,
        epoch=epoch.proven(seen, beat, all_there=there),
        remembered=max(node.remembered, view.token.term),
        beats=beat or known,
    )


def _row_is_own(event: Answered) -> bool:
    """Say whether only this process can have counted the heartbeats of the node's row."""
    request, row = event.request, event.answer.namesake
    if not isinstance(request, Join):
        return True
    return row is not None and request.previous is not None and row.session == request.previous


def waiting(before: epoch.Epoch | None, seen: epoch.Epoch | None) -> tuple[Command, ...]:
    """Report that no node may act yet on this identity, and why; or that the wait is over."""
    assert seen is not None, "an answer has come"
    waited = before is not None and epoch.waits(before)
    timeline = ("timeline", seen.identity.timeline)
    if not epoch.waits(seen):
        return (LogLine("settled", (timeline,)),) if waited and seen.settled else ()
    if before is not None and waited and before.since == seen.since:
        return ()
    wait_s = round(epoch.settle_at(seen) - seen.since, 3)
    return (LogLine("unsettled", (timeline, ("wait_s", wait_s), ("why", seen.why))),)

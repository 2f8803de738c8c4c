"""Watching another node's heartbeats by one's own clock (docs/protocol.md, rules O1 to O4).

A holder is dead when what a standby sees of it has not changed for the interval that the holder
itself wrote in its row. No wall clock takes part, neither a node's nor the server's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.protocol.messages.requests import Identity, NodeSeen, View

#: The beat of a holder whose row was deleted: it is waited for like a silent one.
NO_BEAT = -1


@dataclass(frozen=True, slots=True)
class Sight:
    """Values that must stay the same through the whole wait; any change, backwards too, is life."""

    identity: Identity
    term: int
    session: str | None
    beat: int


@dataclass(frozen=True, slots=True)
class Watch:
    """A sight, since when it has been the same, and when it was last confirmed."""

    sight: Sight
    since: float
    confirmed_at: float


def watched(watch: Watch | None, sight: Sight, now: float, gap_max_s: float) -> Watch:
    """Return the watch after an answer that arrived at `now`.

    A change starts the wait again, and so does a gap in the watching itself: a node that did not
    look (suspended, cut off) does not know what it missed. A lost answer or connection is neither:
    the identity names one run of one server, which shows its newest beat over any connection.
    """
    if watch is None or watch.sight != sight or not kept(watch, now, gap_max_s):
        return Watch(sight, now, now)
    return replace(watch, confirmed_at=now)


def looked(watch: Watch | None, view: View, now: float, gap_max_s: float) -> Watch:
    """Return the watch of the token's holder after an answer that shows a view."""
    beat = NO_BEAT if view.holder is None else view.holder.beat
    sight = Sight(view.identity, view.token.term, view.token.session, beat)
    return watched(watch, sight, now, gap_max_s)


def kept(watch: Watch, now: float, gap_max_s: float) -> bool:
    """Say whether the watching goes on unbroken at this moment."""
    return now - watch.confirmed_at <= gap_max_s


def silent_at(watch: Watch, seen: NodeSeen | None, own_liveness_s: float) -> float:
    """Return the moment at which the watched node counts as dead.

    own_liveness_s: what counts where the node has no row, or has written no interval.
    """
    return watch.since + ((0.0 if seen is None else seen.liveness_s) or own_liveness_s)

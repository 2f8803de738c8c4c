"""Watching another node's heartbeats by the own clock (docs/protocol.md, rules O1 to O4).

A holder is dead when a standby's observation of it has not changed for the interval that the
holder itself wrote in its row. No wall clock is used, neither a node's nor the server's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.protocol.messages.requests import Identity, NodeSeen, View

#: The beat of a holder whose row was deleted: it is waited out like a silent one.
NO_BEAT = -1


@dataclass(frozen=True, slots=True)
class Sight:
    """Values that must not change during the wait; any change, even backwards, shows life."""

    identity: Identity
    term: int
    session: str | None
    beat: int


@dataclass(frozen=True, slots=True)
class Watch:
    """An observation, the moment since which it is unchanged, and its last confirmation."""

    sight: Sight
    since: float
    confirmed_at: float


def watched(watch: Watch | None, sight: Sight, now: float, gap_max_s: float) -> Watch:
    """Return the watch after an answer that arrived at `now`.

    A changed observation starts the wait again. So does a gap in the watching: a node that was
    suspended or cut off does not know what it missed. A lost answer or connection does not: the
    identity names one run of one server, which shows its newest beat over any connection.
    """
    if watch is None or watch.sight != sight or not kept(watch, now, gap_max_s):
        return Watch(sight, now, now)
    return replace(watch, confirmed_at=now)


def watched_holder(watch: Watch | None, view: View, now: float, gap_max_s: float) -> Watch:
    """Return the watch of the token's holder after an answer with a view."""
    beat = NO_BEAT if view.holder is None else view.holder.beat
    sight = Sight(view.identity, view.token.term, view.token.session, beat)
    return watched(watch, sight, now, gap_max_s)


def kept(watch: Watch, now: float, gap_max_s: float) -> bool:
    """Say whether the watch has no gap at this moment."""
    return now - watch.confirmed_at <= gap_max_s


def silent_at(watch: Watch, seen: NodeSeen | None, own_liveness_s: float) -> float:
    """Return the moment at which the watched node counts as dead.

    own_liveness_s: used when the node has no row, or its row has no interval.
    """
    return watch.since + ((0.0 if seen is None else seen.liveness_s) or own_liveness_s)

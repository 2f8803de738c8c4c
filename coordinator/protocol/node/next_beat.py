"""Time of the next heartbeat: jittered; for the first in line just after the holder's."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.node.state.node import Node, holds, is_free
from coordinator.protocol.rules.ranking import spread

#: Heartbeats come early by up to this share of heartbeatFrequency, so that nodes drift detached.
JITTER = 0.05
#: Seconds after the holder's expected beat at which the first in line reads.
LAG_S = 0.02


def jittered(node: Node, interval_s: float) -> float:
    """Return the interval, shortened by up to JITTER."""
    return interval_s * (1 - JITTER * spread(node.policy.seed, node.beat_count))


def schedule(node: Node, now: float) -> Node:
    """Set the next heartbeat after one that was answered at `now`."""
    interval_s = jittered(node, node.timing.heartbeat_s)
    aligned_s = _after_the_holder(node)
    if aligned_s is not None:
        interval_s = min(interval_s, aligned_s)
    return replace(node, beat_at=now + interval_s, beat_count=node.beat_count + 1)


def _after_the_holder(node: Node) -> float | None:
    """Return the seconds until just after the holder's next beat, for the first in line.

    Its wait for a silent holder starts when it reads the last beat; so reading that beat early
    takes up to a heartbeat off the takeover. The age is by the server's clock and only sets a
    phase: a wrong age costs only time.
    """
    view = node.view
    if node.place != 0 or view is None or is_free(view) or holds(node) or view.holder is None:
        return None
    due_s = view.holder.heartbeat_s - view.holder.age_s
    if not 0 <= due_s <= view.holder.heartbeat_s:
        return None
    aligned_s = due_s + LAG_S
    # A beat within the next tenth of an interval would only double the work of this one.
    return aligned_s if aligned_s > node.timing.heartbeat_s / 10 else None

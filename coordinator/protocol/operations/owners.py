"""Watching the owners of subtasks, where no observer does it (rule Q4).

A worker watches the sessions of other owners as a standby watches a holder (rules O1 to O4), and
ends one that showed nothing new for the interval that it wrote itself. The claims of a session that
is over are given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.protocol.operations.claims import Look, OpenSubtask, OwnerSeen
from coordinator.protocol.operations.types import SubtaskState
from coordinator.protocol.rules.watch import Sight, Watch, watched

#: Share of an owner's interval after which a watch without a look begins anew (rule O3).
GAP_SHARE = 2 / 3


@dataclass(frozen=True, slots=True)
class Owners:
    """The watches of the owners that a worker sees, by node."""

    watches: Mapping[str, Watch] = field(default_factory=dict)


def observed(owners: Owners, look: Look, now: float) -> Owners:
    """Return the watches after a look that was answered at `now`."""
    watches = {}
    for seen in look.owners:
        sight = Sight(look.identity, 0, seen.session, seen.beat)
        before = owners.watches.get(seen.node)
        watches[seen.node] = watched(before, sight, now, seen.liveness_s * GAP_SHARE)
    return Owners(watches)


def silent(owners: Owners, look: Look, me: str, now: float) -> tuple[OwnerSeen, ...]:
    """Return the owners whose sessions are to be ended by this worker."""
    if not look.watches:
        return ()
    return tuple(
        seen
        for seen in look.owners
        if seen.node != me
        and not seen.ended
        and seen.liveness_s > 0
        and now >= owners.watches[seen.node].since + seen.liveness_s
    )


def lost(look: Look) -> tuple[OpenSubtask, ...]:
    """Return the running subtasks whose claim is of a session that is over."""
    live = {seen.session for seen in look.owners if not seen.ended}
    return tuple(
        subtask
        for subtask in look.open
        if subtask.state is SubtaskState.RUNNING and subtask.session not in live
    )

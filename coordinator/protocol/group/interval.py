"""The livenessCheckInterval that a group has for all its nodes (docs/protocol.md, rules I).

Two values that a node must not mix up: the interval in its row, by which others judge it, and the
interval from which its lease follows. The second is never above the first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.errors import TimingError
from coordinator.protocol.messages.planned import Planned, PlannedChange, PlannedKind
from coordinator.protocol.rules.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The interval that a node is to have.

    change: the planned change that asks for it; 0: the node's own file does.
    agreed: every live node of the group has told that it has it.
    """

    change: int
    liveness_s: float
    agreed: bool = False


def settings_of(planned: Planned) -> tuple[PlannedChange, ...]:
    """Return the intervals that were set for the group, the newest last."""
    return tuple(one for one in planned.changes if one.kind is PlannedKind.LIVENESS)


def seconds_of(change: PlannedChange) -> float:
    """Return the interval that a change asks for."""
    return (change.value or 0) / 1000


def longest_s(planned: Planned) -> float:
    """Return the longest interval that was set and counts, or is to count; 0.0: none was."""
    return max(map(seconds_of, settings_of(planned)), default=0.0)


def fits(timing: Timing, liveness_s: float) -> bool:
    """Say whether a node with this heartbeatFrequency can have the interval (T1)."""
    try:
        replace(timing, liveness_s=liveness_s)
    except TimingError:
        return False
    return True


def target_of(planned: Planned, timing: Timing, configured_s: float) -> Target:
    """Return the interval that a node is to have: the newest that was set, else its file's (I1)."""
    for change in reversed(settings_of(planned)):
        if fits(timing, seconds_of(change)):
            return Target(change=change.id, liveness_s=seconds_of(change), agreed=change.agreed)
    return Target(change=0, liveness_s=configured_s)


def trusted_s(target: Target, *, now_s: float, told: int | None) -> float:
    """Return the interval from which the lease follows from now on (I2, I4).

    It gets shorter at once. It gets longer only when every live node has told that it has the
    longer one, and this node's own row shows it.

    now_s: the interval from which the lease followed until now.
    told:  the change whose interval the node's row shows for sure; None: not known.
    """
    if target.agreed and told == target.change:
        return target.liveness_s
    return min(now_s, target.liveness_s)


def tell_at(target: Target, *, long_s: float, long_until: float) -> float:
    """Return when the row may show the target: no trust by a longer interval is left then (I3).

    long_s, long_until: the longest interval that trust was given by, and the end of that trust.
    """
    return float("-inf") if target.liveness_s >= long_s else long_until

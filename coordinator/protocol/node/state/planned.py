"""State of a node about the planned changes of its group: when it read them, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field

from coordinator.protocol.messages.planned import NOTHING_PLANNED, Planned, PlannedChange
from coordinator.protocol.messages.requests import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalState:
    """Knowledge of a node about its livenessCheckInterval; the one of its lease is in its timing.

    configured_s: of the node's own file; 0.0: nothing was answered yet.
    told:       the change whose interval the own row shows for sure; 0: the file's, None: unknown.
    least_s:    no row of this session has ever shown a shorter interval.
    long_s, long_until: interval and end (own clock) of trust by a longer interval than now.
    again_at:   own clock: before it, nothing is told again.
    reported:   the last change of which the log was told what it means for this node.
    """

    configured_s: float = 0.0
    told: int | None = None
    least_s: float = float("inf")
    long_s: float = 0.0
    long_until: float = float("-inf")
    again_at: float = float("-inf")
    reported: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedState:
    """Knowledge and deeds of a node about planned changes; replaced, never changed.

    The changes themselves are those of the last view, so that a node without a view acts on none.

    read:      the last reading that was new.
    read_at:   own clock, its arrival; every alarm counts from there.
    reported:  the changes that the log was last told of.
    roster, roster_at: live nodes of the group, as the holder read them for a switchover.
    retry_at:  own clock: before it, no end of a change is recorded again.
    interval:  what was read and done about the group's livenessCheckInterval.
    """

    read: Planned = NOTHING_PLANNED
    read_at: float = float("-inf")
    reported: tuple[PlannedChange, ...] = ()
    roster: tuple[Candidate, ...] = ()
    roster_at: float = float("-inf")
    retry_at: float = float("-inf")
    interval: IntervalState = field(default_factory=IntervalState)

"""State of a node about the planned changes of its group: when it read them, and what it did."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.protocol.messages.planned import NOTHING_PLANNED, Planned, PlannedChange
from coordinator.protocol.messages.requests import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedState:
    """Knowledge and deeds of a node about planned changes; replaced, never changed.

    The changes themselves are those of the last view, so that a node without a view acts on none.

    read:      the last reading that was new.
    read_at:   own clock, its arrival; every alarm counts from there.
    reported:  the changes that the log was last told of.
    roster, roster_at: live nodes of the group, as the holder read them for a switchover.
    retry_at:  own clock: before it, no end of a change is recorded again.
    """

    read: Planned = NOTHING_PLANNED
    read_at: float = float("-inf")
    reported: tuple[PlannedChange, ...] = ()
    roster: tuple[Candidate, ...] = ()
    roster_at: float = float("-inf")
    retry_at: float = float("-inf")

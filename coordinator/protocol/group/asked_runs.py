"""Runs of a task by hand: what becomes of a request (rules X of docs/protocol.md).

A request is a slot of a record of its own beside the task's schedule, reserved by whoever asks. The
process that serves the schedule claims it (C2), makes the run, and writes its end. All of that
stands in one row, of which these functions are told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class RunState(StrEnum):
    """State of a request: open, or its end."""

    ASKED = "asked"  #: nobody has claimed it yet
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    STOPPED = "stopped"  #: its node was told to stop, and the run was not let end
    DIED = "died"  #: its holding was over before the run's end was written
    EXPIRED = "expired"  #: nobody claimed it in its time; it is never run


#: States that may change.
OPEN = frozenset({RunState.ASKED, RunState.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSeen:
    """The record of a task's runs by hand, as one read shows it.

    reserved:     the slot of the newest request.
    expired:      its time is over, and that of a claim which began within it.
    fired:        the slot that was claimed last, under `term`; outcome: "running", or its end.
    holding_over: the token is not held under that term any more, so no end can be written.
    """

    reserved: datetime | None
    expired: bool
    fired: datetime | None
    outcome: str
    holding_over: bool


def is_due(seen: RecordSeen) -> bool:
    """Say whether a request waits to be claimed: in its time, and only if no claim came to it."""
    if seen.reserved is None or seen.expired:
        return False
    return seen.fired is None or seen.fired < seen.reserved


def state_of(slot: datetime, seen: RecordSeen, ended: str | None) -> RunState:
    """Return what has become of the request of a slot.

    ended: the end that an event tells of it, for a slot that newer requests have followed.
    """
    if seen.fired == slot:
        if seen.outcome == "running":
            return RunState.DIED if seen.holding_over else RunState.RUNNING
        return RunState(seen.outcome)
    if seen.reserved == slot and not seen.expired and is_due(seen):
        return RunState.ASKED
    return RunState.EXPIRED if ended is None else RunState(ended)

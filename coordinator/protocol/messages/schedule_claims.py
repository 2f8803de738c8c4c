"""Answers of the group's record of a schedule to a claim.

A *slot* is the moment at which a run is due. The group's record knows the last slot that was
fired, under whatever term. Slots only rise: a slot not later than that one has been fired before.

Rules C of docs/protocol.md: a slot is a moment of the database's clock, and that clock alone
decides whether it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "failed", "stopped", "skipped"]

#: Seconds by which a slot may be ahead of the database's clock when it is claimed: a round trip
#: and the rates of two clocks add up to less between two reads. A claim beyond it is refused (C2).
SLOT_AHEAD_MAX_S = 1.0
#: Seconds by which a record's last run may be ahead of the database's clock and is waited out: the
#: clock was set back a little. Beyond it the schedule begins anew (C4).
RECORD_AHEAD_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The slot is this node's to run; count includes it."""

    count: int


@dataclass(frozen=True, slots=True)
class CountExhausted:
    """The group has made all the runs that the schedule allows."""

    count: int


@dataclass(frozen=True, slots=True)
class AlreadyFired:
    """This slot, or a later one, was fired before; the last one under `term`."""

    term: int
    count: int
    same: bool  #: the last slot fired is this very slot


@dataclass(frozen=True, slots=True)
class NotHolder:
    """This node no longer holds the token: the schedule must stop."""

    reason: str


@dataclass(frozen=True, slots=True)
class AlreadyEnded:
    """The schedule was ended before, for the whole group."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooEarly:
    """The slot is ahead of the database's clock by ahead_s."""

    ahead_s: float


Claim = Claimed | CountExhausted | AlreadyFired | NotHolder | AlreadyEnded | TooEarly

"""Answers of the group's record of a schedule to a claim.

A *slot* is the moment that a run is due at. The group's record knows the last slot that was
fired, under whatever term; slots only rise, so a slot that is not later than it was fired before.

Rules C of docs/protocol.md: a slot is a moment of the database's clock, and that clock alone says
whether it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "failed", "stopped", "skipped"]

#: A slot may be so much later than the database's clock when it is claimed: what a round trip and
#: the rates of two clocks add up to between two looks. Beyond it the claim is refused (C2).
SLOT_AHEAD_MAX_S = 1.0
#: A record whose last run lies so far ahead of the database's clock is waited out: the clock was
#: set back a little, and its moments come again. Beyond it the schedule begins anew (C4).
RECORD_AHEAD_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The slot is ours to run; count includes it."""

    count: int


@dataclass(frozen=True, slots=True)
class CountExhausted:
    """The group has made all the runs that it was to make."""

    count: int


@dataclass(frozen=True, slots=True)
class AlreadyFired:
    """This slot, or a later one, was fired before; the last one under `term`."""

    term: int
    count: int
    same: bool  #: the last one that was fired is this very slot


@dataclass(frozen=True, slots=True)
class NotHolder:
    """The token is not ours any more: whoever asks must stop."""

    reason: str


@dataclass(frozen=True, slots=True)
class AlreadyEnded:
    """The schedule was ended before, for the group as a whole."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooEarly:
    """The database's clock has not come to the slot yet, by ahead_s."""

    ahead_s: float


Claim = Claimed | CountExhausted | AlreadyFired | NotHolder | AlreadyEnded | TooEarly

"""The words of a schedule: its policies, and what the group's record answers to a claim.

A *slot* is the moment that a run is due at. The group's record knows the last slot that was
fired, under whatever term; slots only rise, so a slot that is not later than it was fired before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CatchUp = Literal["none", "once", "all"]
ErrorPolicy = Literal["LOG_AND_TERMINATE", "LOG_AND_CONTINUE", "TERMINATE", "CONTINUE"]
WaitingPolicy = Literal["WAIT", "IGNORE", "LOG_AND_IGNORE"]
Backoff = Literal["FIXED", "EXPONENTIAL"]
Outcome = Literal["ok", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a failed run is tried again."""

    max_attempts: int = 0  #: tries after the first one
    retry_interval_s: float = 1.0
    backoff: Backoff = "FIXED"
    max_interval_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What follows from a failed run, and from a slot that comes while a run is going on."""

    error: ErrorPolicy = "LOG_AND_TERMINATE"
    waiting: WaitingPolicy = "WAIT"
    retry: Retry | None = None


# --- what the group's record answers --------------------------------------------------------------


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


Claim = Claimed | CountExhausted | AlreadyFired | NotHolder | AlreadyEnded

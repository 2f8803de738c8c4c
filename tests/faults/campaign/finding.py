"""Finding of the judge: one broken promise, and the fault under which it happened."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from tests.faults.campaign.history import Injection

Kind = Literal["overlap", "thaw", "term", "unit", "wait", "told", "busy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken promise, when, and in words; `length_s` of overlaps and waits."""

    kind: Kind
    at: float
    told: str
    length_s: float = 0.0


def bound_at(moment: float, injections: list[Injection]) -> float:
    """Return the bound of the fault under which a moment falls; infinite before the first."""
    under = injection_at(moment, injections)
    return under.bound_s if under else float("inf")


def injection_at(moment: float, injections: list[Injection]) -> Injection | None:
    """Return the fault that was injected last before a moment."""
    place = bisect_right([injection.at for injection in injections], moment)
    return injections[place - 1] if place else None

"""Levels of isolation that this machine allows, for an operator who plans to run a node here."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.runtime.isolation import levels as isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of isolation, and its use by a node that is started here."""

    name: str
    available: bool
    used: bool  #: by `isolation = "auto"`, or as configured
    promise: str
    why_not: str


def guardian_levels(wanted: str = "auto") -> tuple[Level, ...]:
    """Try each level, strongest first.

    Errors: ConfigError if the wanted level is not available here.
    """
    chosen = isolation.choose(wanted)
    return tuple(
        Level(
            name=level.name,
            available=level.available,
            used=level.name == chosen,
            promise=level.promise,
            why_not=level.reason,
        )
        for level in isolation.available()
    )

"""Tell an operator how surely a program is caught here, before a node guards anything."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.runtime.isolation import levels as isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """One level of isolation, and whether a node started here would use it."""

    level: str
    available: bool
    used: bool  #: by `isolation = "auto"`, or as configured
    promise: str
    why_not: str


def guardian_levels(wanted: str = "auto") -> tuple[Catch, ...]:
    """Try each level, strongest first.

    Errors: ConfigError when the wanted level cannot be had here.
    """
    chosen = isolation.choose(wanted)
    return tuple(
        Catch(
            level=level.name,
            available=level.available,
            used=level.name == chosen,
            promise=level.promise,
            why_not=level.reason,
        )
        for level in isolation.available()
    )

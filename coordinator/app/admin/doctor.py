"""Tell an operator how surely a program is caught here, before a node guards anything."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.runtime.isolation import levels as isolation

#: What each level promises when something dies or hangs; docs/faults.md has the counts.
PROMISES = {
    "cgroup": "no process survives, whatever is killed or frozen",
    "pidns": "no process survives; it dies with the guardian by itself",
    "plain": "what left its session and cleared its environment may survive the guardian",
}


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
            promise=PROMISES[level.name],
            why_not=level.reason,
        )
        for level in isolation.available()
    )

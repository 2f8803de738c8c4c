"""Simulated process: it can be frozen, and then finds its mail waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[..., None]

#: A process that is woken by a timer wakes up to this much late.
LATE_MAX_S = 0.02


class Process:
    """One process of a host; `host_frozen` and `frozen` both stop it, neither loses its mail."""

    __slots__ = ("alive", "backlog", "frozen", "host_frozen")

    def __init__(self) -> None:
        self.alive = True
        self.frozen = False
        self.host_frozen = False
        self.backlog: list[tuple[Call, tuple[Any, ...]]] = []

    @property
    def runs(self) -> bool:
        """Say whether the process does anything at this moment."""
        return self.alive and not self.frozen and not self.host_frozen

    def deliver(self, call: Call, *args: Any) -> None:
        """Let the process do this now, or when it is thawed; never when it is dead."""
        if not self.alive:
            return
        if self.frozen or self.host_frozen:
            self.backlog.append((call, args))
        else:
            call(*args)

    def catch_up(self) -> None:
        """Do what has waited, oldest first, unless something freezes or kills it meanwhile."""
        waiting, self.backlog = self.backlog, []
        for place, (call, args) in enumerate(waiting):
            if not self.runs:
                self.backlog = waiting[place:] + self.backlog
                return
            call(*args)

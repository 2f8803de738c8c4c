"""How surely the program is caught: the levels, the choice, and the kill by handle.

    cgroup  nothing escapes, and anybody with the path can kill it whole
    pidns   nothing escapes, and it dies with the guardian by itself; needs CAP_SYS_ADMIN
    plain   sessions, groups and a subreaper; a reduced promise

A handle is JSON. Whoever has it can kill what it names, when the guardian is dead or frozen too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from coordinator.errors import ConfigError
from coordinator.runtime import isolation_cgroup, isolation_pidns, isolation_plain

#: Strongest first.
LEVELS = (isolation_cgroup.LEVEL, isolation_pidns.LEVEL, isolation_plain.LEVEL)
#: Killing takes some milliseconds; what lasts longer waits in the kernel.
KILL_MAX_S = 0.2


class Level(NamedTuple):
    """One level, and whether it can be had here."""

    name: str
    available: bool
    reason: str  #: why not; empty when it can


class Room(Protocol):
    """Where one run of the program is locked in; `root` is the guardian's child in it."""

    root: int
    status_fd: int | None  #: where a keeper says how the program ended; None: root is it

    def launch(self, body: Callable[[int], object]) -> None:
        """Fork what runs body(parent's pid)."""
        ...

    def enter(self) -> None:
        """Called by the program's process before anything else."""
        ...

    def change_fd(self) -> int | None:
        """Return a descriptor that polls urgent when `empty` may have changed."""
        ...

    def handle(self, pid: int) -> dict[str, Any]:
        """Return what kill_everything needs; pid is the program's first process."""
        ...

    def kill(self, root_lives: bool) -> None:
        """SIGKILL everything once."""
        ...

    def empty(self, root_lives: bool, root_status: int) -> bool:
        """Tell whether nothing is left."""
        ...

    def close(self) -> None:
        """Clear up; the room is empty."""
        ...


def available() -> list[Level]:
    """Try all levels; strongest first."""
    reasons = (
        isolation_cgroup.unavailable(),
        isolation_pidns.unavailable(),
        isolation_plain.unavailable(),
    )
    return [Level(name, not reason, reason) for name, reason in zip(LEVELS, reasons, strict=True)]


def choose(wanted: str) -> str:
    """Return the level to use: the wanted one, or for `auto` the strongest there is.

    Errors: ConfigError when the wanted level is unknown, or cannot be had here.
    """
    tries = {
        isolation_cgroup.LEVEL: isolation_cgroup.unavailable,
        isolation_pidns.LEVEL: isolation_pidns.unavailable,
        isolation_plain.LEVEL: isolation_plain.unavailable,
    }
    if wanted == "auto":
        return next(name for name, unavailable in tries.items() if not unavailable())
    if wanted not in tries:
        raise ConfigError(f"isolation {wanted!r}: must be auto, {', '.join(LEVELS)}")
    reason = tries[wanted]()
    if reason:
        raise ConfigError(f"isolation {wanted!r} cannot be had here: {reason}; use 'auto'")
    return wanted


def build(level: str, marker: str) -> Room:
    """Make the room for one run; marker is unique to it."""
    match level:
        case isolation_cgroup.LEVEL:
            return isolation_cgroup.CgroupRoom(marker)
        case isolation_pidns.LEVEL:
            return isolation_pidns.PidnsRoom(marker)
        case _:
            return isolation_plain.PlainRoom(marker)


def kill_everything(handle: Mapping[str, Any], within_s: float = KILL_MAX_S) -> bool:
    """Kill the program that a `started` message told of; true when nothing of it is left.

    Works in any process of the same user in the same PID namespace, and more than once.
    """
    until = time.monotonic() + within_s

    def rounds() -> bool:
        return time.monotonic() < until

    match handle.get("level"):
        case isolation_cgroup.LEVEL:
            return isolation_cgroup.kill(dict(handle), rounds)
        case isolation_pidns.LEVEL:
            return isolation_pidns.kill(dict(handle), rounds)
        case isolation_plain.LEVEL:
            return isolation_plain.kill(dict(handle), rounds)
        case level:
            raise ValueError(f"no such isolation level: {level}")


def clean_leftovers() -> None:
    """Remove what dead guardians left behind."""
    isolation_cgroup.clean_leftovers()

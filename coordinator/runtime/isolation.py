"""How surely the program is caught: the levels, the choice, and the kill by handle.

    cgroup  nothing escapes, and anybody with the path can kill it whole
    pidns   nothing escapes, and it dies with the guardian by itself; needs CAP_SYS_ADMIN
    plain   sessions, groups and a subreaper; a reduced promise

A handle is JSON. Whoever has it can kill what it names, when the guardian is dead or frozen too.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from coordinator.errors import ConfigError
from coordinator.runtime import isolation_cgroup, isolation_pidns, isolation_plain
from coordinator.runtime.proctable import Look

#: Strongest first.
LEVELS = (isolation_cgroup.LEVEL, isolation_pidns.LEVEL, isolation_plain.LEVEL)
#: Killing takes some milliseconds; what lasts longer waits in the kernel.
KILL_MAX_S = 0.2
#: A killed process needs a moment to end before looking again is worth it.
_PAUSE_MS = 2

#: What a `started` message tells of a program, so that anybody can kill it.
Handle = Mapping[str, Any]


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

    def kill(self, root_lives: bool, look: Look) -> None:
        """SIGKILL everything once."""
        ...

    def empty(self, root_lives: bool, root_status: int, look: Look) -> bool:
        """Tell whether nothing is left; the look is younger than the root's death."""
        ...

    def close(self) -> None:
        """Close what is open; the room is empty."""
        ...

    def clear(self) -> bool:
        """Remove the empty room from the system; false when it must be asked again."""
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


def kill_everything(handle: Handle, within_s: float = KILL_MAX_S) -> bool:
    """Kill the program that a `started` message told of; true when nothing of it is left.

    Works in any process of the same user in the same PID namespace, and more than once.
    """
    return not kill_all({0: handle}, within_s)


def kill_all(handles: Mapping[int, Handle], within_s: float = KILL_MAX_S) -> set[int]:
    """Kill many programs; return the numbers of those of which something is left.

    Each is struck before anybody waits for the end of one.
    """
    until = time.monotonic() + within_s
    left = dict(handles)
    while True:
        look = Look()
        left = {number: handle for number, handle in left.items() if not _strike(handle, look)}
        if not left or time.monotonic() >= until:
            return set(left)
        select.poll().poll(_PAUSE_MS)


def _strike(handle: Handle, look: Look) -> bool:
    match handle.get("level"):
        case isolation_cgroup.LEVEL:
            return isolation_cgroup.strike(dict(handle), look)
        case isolation_pidns.LEVEL:
            return isolation_pidns.strike(dict(handle), look)
        case isolation_plain.LEVEL:
            return isolation_plain.strike(dict(handle), look)
        case level:
            raise ValueError(f"no such isolation level: {level}")


def clean_leftovers() -> None:
    """Remove what dead guardians left behind."""
    isolation_cgroup.clean_leftovers()

"""How surely the program is caught: the levels, the choice, and the kill by handle.

    cgroup  the kernel kills it whole; anybody with the path can have that done
    pidns   it dies with the guardian by itself; needs CAP_SYS_ADMIN
    plain   sessions, groups and a subreaper; a reduced promise

On every level a run has ended only when all belts say so: the cgroup or the namespace, what is
below the keeper, the program's session, and the mark in the environment (traces.py).

A handle is JSON. Whoever has it can kill what it names, when the guardian is dead or frozen too.
"""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from coordinator.errors import ConfigError, CoordError
from coordinator.runtime.isolation import cgroup, pidns, plain, traces
from coordinator.runtime.linux import syscalls
from coordinator.runtime.linux.processes import ProcessSnapshot, Seen

#: Strongest first.
LEVELS = (cgroup.LEVEL, pidns.LEVEL, plain.LEVEL)
#: Killing takes some milliseconds; what lasts longer waits in the kernel.
KILL_MAX_S = 0.2
#: A killed process needs a moment to end before looking again is worth it.
_PAUSE_MS = 2
#: After so many rounds the marks are looked for even while something known survives.
ROUNDS_QUICK = 2

#: The kernel kills a cgroup whole, whoever its processes belong to.
_LEFT = " unless as another user (su, sudo)"

#: What a `started` message tells of a program, so that anybody can kill it.
Handle = Mapping[str, Any]


class Level(NamedTuple):
    """One level, and whether it can be had here."""

    name: str
    available: bool
    reason: str  #: why not; empty when it can


class Room(Protocol):
    """Where one run of the program is locked in."""

    @property
    def root(self) -> int:
        """The keeper, which is the guardian's child."""
        ...

    @property
    def status_fd(self) -> int | None:
        """Where the keeper says how the program ended; None before the launch."""
        ...

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

    def kill(self, root_lives: bool, look: ProcessSnapshot, *, thorough: bool) -> tuple[Seen, ...]:
        """SIGKILL what is known, once; return what the kernel protects from us.

        The mark is looked for when nothing else is known to live, or when `thorough`.
        """
        ...

    def empty(self, root_lives: bool, look: ProcessSnapshot) -> bool:
        """Tell whether nothing is left; the look is younger than the root's death."""
        ...

    @property
    def grew(self) -> bool:
        """True when the last kill found somebody whom none before had found."""
        ...

    def leads_group(self) -> bool:
        """Tell whether the process group of the program's first process is still the run's own."""
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
        cgroup.unavailable(),
        pidns.unavailable(),
        plain.unavailable(),
    )
    return [Level(name, not reason, reason) for name, reason in zip(LEVELS, reasons, strict=True)]


def choose(wanted: str) -> str:
    """Return the level to use: the wanted one, or for `auto` the strongest there is.

    Errors: ConfigError when the wanted level is unknown, or cannot be had here. CoordError when no
    level can be tried now: a weaker one is not taken for that.
    """
    try:
        return _chosen(wanted)
    except OSError as error:
        raise CoordError(
            f"isolation {wanted!r} cannot be tried now: {error.strerror or error}: this machine has"
            " no process, descriptor or memory to spare (ulimit -u, pids.max, ulimit -n)"
        ) from error


def _chosen(wanted: str) -> str:
    tries = {
        cgroup.LEVEL: cgroup.unavailable,
        pidns.LEVEL: pidns.unavailable,
        plain.LEVEL: plain.unavailable,
    }
    if wanted == "auto":
        reason = ""
        for name, unavailable in tries.items():
            reason = unavailable()
            if not reason:
                return name
        raise ConfigError(f"isolation 'auto': no level can be had here: {reason}")
    if wanted not in tries:
        raise ConfigError(f"isolation {wanted!r}: must be auto, {', '.join(LEVELS)}")
    reason = tries[wanted]()
    if reason:
        other = "" if reason == plain.HIDDEN else "; use 'auto'"
        raise ConfigError(f"isolation {wanted!r} cannot be had here: {reason}{other}")
    return wanted


def reach(level: str) -> str:
    """Say what of a program this level can kill, and what escapes it."""
    others = "" if syscalls.may_kill_others() else "; not what becomes another user's (su, sudo)"
    match level:
        case cgroup.LEVEL:
            return f"everything in the program's cgroup, and what left it{others and _LEFT}"
        case pidns.LEVEL:
            return "everything in the program's PID namespace"
        case _:
            return (
                "everything that the program started, while the guardian lives; afterwards not"
                f" what left the session and cleared its environment{others}"
            )


def build(level: str, marker: str) -> Room:
    """Make the room for one run; marker is unique to it."""
    match level:
        case cgroup.LEVEL:
            return cgroup.CgroupRoom(marker)
        case pidns.LEVEL:
            return pidns.PidnsRoom(marker)
        case _:
            return plain.PlainRoom(marker)


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
    chases = {number: traces.Chase() for number in left}
    for rounds in itertools.count():
        look = ProcessSnapshot()
        # What is known of any is killed before anybody looks for the marks of one.
        known = {n for n, handle in left.items() if not _strike(handle, look, chases[n])}
        marked = {
            number
            for number, handle in left.items()
            if (number not in known or rounds >= ROUNDS_QUICK) and _strike_marked(handle, look)
        }
        left = {number: left[number] for number in known | marked}
        if not left or time.monotonic() >= until:
            break
        select.poll().poll(_PAUSE_MS)
    return set(left)


def _strike_marked(handle: Handle, look: ProcessSnapshot) -> bool:
    """SIGKILL what carries the mark of the run; tell whether anything did."""
    trace = traces.traced(handle)
    victims = trace.marked(look)
    traces.kill(victims, trace.keeper)
    return bool(victims)


def _strike(handle: Handle, look: ProcessSnapshot, chase: traces.Chase) -> bool:
    match handle.get("level"):
        case cgroup.LEVEL:
            return cgroup.strike(dict(handle), look, chase)
        case pidns.LEVEL:
            return pidns.strike(dict(handle), look, chase)
        case plain.LEVEL:
            return plain.strike(dict(handle), look, chase)
        case level:
            raise ValueError(f"no such isolation level: {level}")


def clean_leftovers() -> None:
    """Remove what dead guardians left behind."""
    cgroup.clean_leftovers()

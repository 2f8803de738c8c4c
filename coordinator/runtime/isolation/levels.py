"""Isolation levels: their names, the choice, and the kill by handle.

    cgroup  the kernel kills it as a whole; any process that has the path can order that
    pidns   it dies with the guardian by itself; needs CAP_SYS_ADMIN
    plain   sessions, groups and a subreaper; a weaker guarantee

On every level a run has ended only when all checks agree: the cgroup or the namespace, the
processes below the keeper, the program's session, and the mark in the environment (traces.py).

A handle is JSON. Any process that has it can kill the run, even if the guardian is dead or frozen.
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

#: Killing takes some milliseconds; a process that takes longer is waiting in the kernel.
KILL_MAX_S = 0.2
#: A killed process needs this long to end before another check is worthwhile.
_PAUSE_MS = 2
#: After this many rounds processes with the mark are searched even while known ones survive.
ROUNDS_QUICK = 2

#: Part of a `started` message by which any process can kill the program.
Handle = Mapping[str, Any]


class Level(NamedTuple):
    """One level, and whether it is available here."""

    name: str
    available: bool
    reason: str  #: the reason why it is not available; empty when it is
    promise: str  #: the guarantee, as a text for people


class Container(Protocol):
    """The isolation of one run of the program."""

    @property
    def root(self) -> int:
        """Pid of the keeper, which is the guardian's child."""
        ...

    @property
    def status_fd(self) -> int | None:
        """Descriptor on which the keeper reports the program's end; None before the launch."""
        ...

    def launch(self, body: Callable[[int], object]) -> None:
        """Fork the keeper; the program's process runs body(keeper's pid)."""
        ...

    def enter(self) -> None:
        """Enter the isolation; called by the program's process before anything else."""
        ...

    def change_fd(self) -> int | None:
        """Return a descriptor that polls urgent when `empty` may have changed."""
        ...

    def handle(self, pid: int) -> dict[str, Any]:
        """Return the handle for kill_everything; pid is the program's first process."""
        ...

    def kill(self, root_lives: bool, look: ProcessSnapshot, *, thorough: bool) -> tuple[Seen, ...]:
        """SIGKILL the known processes once; return those that the kernel protects.

        Processes with the mark are searched when no other is known to live, or when `thorough`.
        """
        ...

    def empty(self, root_lives: bool, look: ProcessSnapshot) -> bool:
        """Say whether nothing is left; the snapshot is younger than the root's death."""
        ...

    @property
    def grew(self) -> bool:
        """True when the last kill found a process that no earlier one had found."""
        ...

    def leads_group(self) -> bool:
        """Say whether the process group of the program's first process is still the run's own."""
        ...

    def close(self) -> None:
        """Close the descriptors; the run has no process left."""
        ...

    def clear(self) -> bool:
        """Remove what the system still holds of the run; false when it must be called again."""
        ...


class LevelModule(Protocol):
    """Module of one level."""

    LEVEL: str  #: its name
    PROMISE: str  #: the guarantee, as a text for people; docs/faults.md has the counts

    def unavailable(self) -> str:
        """Try it; return why the level is not available here, or nothing."""
        ...

    def build(self, marker: str) -> Container:
        """Make the isolation of one run."""
        ...

    def reach(self, *, others: bool) -> str:
        """Describe which processes of a program this level can kill, and which escape it.

        others: processes of other users can be killed.
        """
        ...

    def kill_by_handle(
        self, handle: dict[str, Any], look: ProcessSnapshot, chase: traces.Chaser
    ) -> bool:
        """SIGKILL a run by its handle; true when no known process of it is left."""
        ...


#: Every level, the strongest first.
MODULES: tuple[LevelModule, ...] = (cgroup, pidns, plain)
LEVELS = tuple(module.LEVEL for module in MODULES)
_BY_NAME = {module.LEVEL: module for module in MODULES}


def available() -> list[Level]:
    """Try all levels; the strongest comes first."""
    found = []
    for module in MODULES:
        reason = module.unavailable()
        found.append(Level(module.LEVEL, not reason, reason, module.PROMISE))
    return found


def choose(wanted: str) -> str:
    """Return the level to use: the wanted one, or for `auto` the strongest that is available.

    Errors: ConfigError when the wanted level is unknown or not available here. CoordError when
    levels cannot be tried now: a weaker one is not chosen for that reason.
    """
    try:
        return _chosen(wanted)
    except OSError as error:
        raise CoordError(
            f"isolation {wanted!r} cannot be tried now: {error.strerror or error}: this machine has"
            " no process, descriptor or memory to spare (ulimit -u, pids.max, ulimit -n)"
        ) from error


def _chosen(wanted: str) -> str:
    if wanted == "auto":
        reason = ""
        for module in MODULES:
            reason = module.unavailable()
            if not reason:
                return module.LEVEL
        raise ConfigError(f"isolation 'auto': no level can be had here: {reason}")
    if wanted not in _BY_NAME:
        raise ConfigError(f"isolation {wanted!r}: must be auto, {', '.join(LEVELS)}")
    reason = _BY_NAME[wanted].unavailable()
    if reason:
        other = "" if reason == plain.HIDDEN else "; use 'auto'"
        raise ConfigError(f"isolation {wanted!r} cannot be had here: {reason}{other}")
    return wanted


def reach(level: str) -> str:
    """Describe which processes of a program this level can kill, and which escape it."""
    return _BY_NAME[level].reach(others=syscalls.may_kill_others())


def build(level: str, marker: str) -> Container:
    """Make the isolation of one run; marker is unique to the run."""
    return _BY_NAME[level].build(marker)


def kill_everything(handle: Handle, within_s: float = KILL_MAX_S) -> bool:
    """Kill the program that a `started` message described; true when nothing of it is left.

    Works in any process of the same user in the same PID namespace, and more than once.
    """
    return not kill_all({0: handle}, within_s)


def kill_all(handles: Mapping[int, Handle], within_s: float = KILL_MAX_S) -> set[int]:
    """Kill many programs; return the numbers of those of which something is left.

    All are killed once before the end of any is awaited.
    """
    until = time.monotonic() + within_s
    left = dict(handles)
    chases = {number: traces.Chaser() for number in left}
    for rounds in itertools.count():
        look = ProcessSnapshot()
        # Known processes of all runs are killed before the marks of any run are searched.
        known = {n for n, handle in left.items() if not _kill_known(handle, look, chases[n])}
        marked = {
            number
            for number, handle in left.items()
            if (number not in known or rounds >= ROUNDS_QUICK) and _kill_marked(handle, look)
        }
        left = {number: left[number] for number in known | marked}
        if not left or time.monotonic() >= until:
            break
        select.poll().poll(_PAUSE_MS)
    return set(left)


def _kill_marked(handle: Handle, look: ProcessSnapshot) -> bool:
    """SIGKILL the processes with the run's mark; say whether there were any."""
    trace = traces.traced(handle)
    victims = trace.marked(look)
    traces.kill(victims, trace.keeper)
    return bool(victims)


def _kill_known(handle: Handle, look: ProcessSnapshot, chase: traces.Chaser) -> bool:
    module = _BY_NAME.get(str(handle.get("level")))
    if module is None:
        raise ValueError(f"no such isolation level: {handle.get('level')}")
    return module.kill_by_handle(dict(handle), look, chase)


def clean_leftovers() -> None:
    """Remove what dead guardians left behind."""
    cgroup.clean_leftovers()

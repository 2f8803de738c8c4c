"""The cgroup of a whole node, as a service manager made it for the node's unit (rule G12)."""

from __future__ import annotations

import os

from coordinator.runtime.isolation import cgroup
from coordinator.runtime.linux import processes

#: A unit that delegates its cgroup has its last commands in a child of it, of this name.
_CONTROL = ".control"


def place() -> str:
    """Return the directory of the unit's cgroup; the same for the node and for its last command.

    Errors: OSError where there is no cgroup v2.
    """
    path = cgroup.home()
    return os.path.dirname(path) if os.path.basename(path) == _CONTROL else path


def machine() -> str:
    """Name this boot, and the namespace of processes in which pids and handles mean something."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"


def others(path: str) -> frozenset[int] | None:
    """Return the processes in a cgroup and below it, but for this one; None: they are not known.

    Children of this process are its own, for it adopts none: they read /proc for it. A process of
    another namespace is shown as 0, and is one of the others.
    """
    found: set[int] = set()

    def unknown(error: OSError) -> None:
        raise error

    try:
        for directory, _, _ in os.walk(path, onerror=unknown):
            with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file:
                found |= {int(line) for line in file}
    except (OSError, ValueError):
        return None
    own = os.getpid()
    return frozenset(pid for pid in found - {own} if not _is_child(pid, own))


def _is_child(pid: int, of: int) -> bool:
    seen = processes.look(pid)
    return seen is not None and not seen.unknown and seen.parent == of

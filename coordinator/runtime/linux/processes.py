"""Processes as /proc shows them.

Only "no such process" means that there is none. A process that cannot be read may exist, and
nothing else is known of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from coordinator.runtime.linux import marks

#: States of a process that no longer runs anything; its parent has yet to collect it.
_DEAD_STATES = ("Z", "X", "x")
#: The parent of the kernel's own threads, which have no environment.
_KTHREADD = 2
#: The state of a process whose main thread has ended (pthread_exit) while others run on. The kernel
#: shows that thread alone, as a zombie.
_HEADLESS = "H"
#: The state of a process that cannot be read.
_UNKNOWN = "?"


class Seen(NamedTuple):
    """One process at one moment; (pid, started) identifies it for ever."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int  #: in clock ticks since the machine was started
    name: str = ""

    @property
    def alive(self) -> bool:
        """True while it may still run."""
        return self.state not in _DEAD_STATES

    @property
    def unknown(self) -> bool:
        """True when it could not be read: it may exist, and nothing else is known."""
        return self.state == _UNKNOWN


def look(pid: int) -> Seen | None:
    """Return what is known of one process; None when there is none.

    Errors: none; a process that cannot be read, or that /proc hides, is `unknown`.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return Seen(pid, _UNKNOWN, 0, 0, 0, 0) if pid > 0 and _exists(pid) else None
    except OSError:
        return Seen(pid, _UNKNOWN, 0, 0, 0, 0)
    # The command's name stands in brackets and may hold anything, brackets and spaces too.
    end = text.rindex(b")")
    fields = text[end + 2 :].split()
    parent, group, session = (int(field) for field in fields[1:4])
    name = text[text.index(b"(") + 1 : end].decode(errors="replace")
    state = fields[0].decode()
    if state in _DEAD_STATES and int(fields[17]) > 1:
        state = _HEADLESS
    return Seen(pid, state, parent, group, session, int(fields[19]), name)


def _exists(pid: int) -> bool:
    """Ask the kernel, which hides nothing, unlike a /proc with hidepid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def started(pid: int) -> int:
    """Return when the process was started, in ticks; 0 when there is none or it is unknown."""
    seen = look(pid)
    return 0 if seen is None else seen.started


def started_exactly(pid: int) -> int:
    """Return when a process that certainly exists was started, in ticks.

    Errors: OSError when it cannot be read: it could not be told from another process later.
    """
    when = started(pid)
    if not when:
        raise OSError(f"process {pid} cannot be read in /proc")
    return when


def lives(pid: int, when_started: int) -> bool:
    """Say whether exactly this process may still run, not another one with its number."""
    seen = look(pid)
    return seen is not None and seen.alive and (seen.unknown or seen.started == when_started)


def everyone() -> dict[int, Seen]:
    """Return by pid all processes that can be read. Errors: none."""
    return _read_all()[0]


def _read_all() -> tuple[dict[int, Seen], bool]:
    """Return all readable processes, and whether all that /proc permits could be read."""
    table: dict[int, Seen] = {}
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return table, False
    whole = True
    for pid in pids:
        seen = look(pid)
        if seen is None:
            continue
        if not seen.unknown:
            table[pid] = seen
        elif os.access(f"/proc/{pid}/stat", os.R_OK):
            whole = False  # no descriptor or memory at present: the next snapshot may show it
    return table, whole


class ProcessSnapshot:
    """One read of all processes, made when first needed, and shared by all kills of one round.

    With many programs to kill at once, a read for each would take longer than their deadlines.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc  #: the mount from which environments are read
        self._table: dict[int, Seen] | None = None
        self._children: dict[int, list[Seen]] = {}
        self._sessions: dict[int, list[Seen]] = {}
        self._carriers: dict[bytes, list[Seen]] | None = None
        self._spared: frozenset[int] = frozenset()
        self._whole = True

    @property
    def blind(self) -> bool:
        """True when a process could not be read so far: not to see a process proves nothing."""
        self._seen()
        return not self._whole

    @property
    def spared(self) -> frozenset[int]:
        """The processes that are never victims: process 1, this one and those above it."""
        if not self._spared:
            above, pid = {0, 1, os.getpid()}, os.getppid()
            while pid not in above:
                above.add(pid)
                parent = self.of(pid)
                pid = 0 if parent is None else parent.parent
            self._spared = frozenset(above)
        return self._spared

    def hides(self, pid: int) -> bool:
        """Say whether a process of that number exists of which nothing can be known."""
        if pid <= 0 or self.of(pid) is not None:
            return False
        seen = look(pid)
        return seen is not None and seen.unknown

    def of(self, pid: int) -> Seen | None:
        """Return what is known of one process; None when there was none."""
        return self._seen().get(pid)

    def below(self, roots: Iterable[int]) -> dict[int, Seen]:
        """Return the children of the roots, their children, and so on; not the roots."""
        self._seen()
        return _below(self._children, roots)

    def of_session(self, session: int) -> list[Seen]:
        """Return the processes of a session."""
        self._seen()
        return self._sessions.get(session, [])

    def carrying(self, name: bytes, value: bytes) -> list[Seen]:
        """Return the processes in whose NAME the value is a link; always pass the same name."""
        if self._carriers is None:
            self._carriers = {}
            table = self._seen()
            alive = [seen.pid for seen in table.values() if seen.alive and seen.parent != _KTHREADD]
            for pid, found in marks.values_of(name, alive, self._proc).items():
                if found is None:
                    self._whole = False
                    continue
                for link in set(marks.links(found)):
                    self._carriers.setdefault(link, []).append(table[pid])
        return self._carriers.get(value, [])

    def _seen(self) -> dict[int, Seen]:
        if self._table is None:
            self._table, self._whole = _read_all()
            self._children = _children(self._table)
            for seen in self._table.values():
                self._sessions.setdefault(seen.session, []).append(seen)
        return self._table


def descendants(table: dict[int, Seen], roots: Iterable[int]) -> dict[int, Seen]:
    """Return the children of the roots, their children, and so on; not the roots."""
    return _below(_children(table), roots)


def _children(table: dict[int, Seen]) -> dict[int, list[Seen]]:
    children: dict[int, list[Seen]] = {}
    for seen in table.values():
        children.setdefault(seen.parent, []).append(seen)
    return children


def _below(children: dict[int, list[Seen]], roots: Iterable[int]) -> dict[int, Seen]:
    found: dict[int, Seen] = {}
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                waiting.append(child.pid)
    return found


def carries(pid: int, variable: bytes) -> bool:
    """Say whether the process was started with NAME=value in its environment."""
    return variable in (marks.environment(pid) or ())

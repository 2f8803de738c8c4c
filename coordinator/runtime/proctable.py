"""What /proc tells about processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import NamedTuple

#: A process in one of these states runs nothing any more; only its parent has yet to notice.
_DEAD_STATES = ("Z", "X", "x")


class Seen(NamedTuple):
    """One process at one moment; (pid, started) names it for ever."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int  #: in clock ticks since the machine was started

    @property
    def alive(self) -> bool:
        """Whether it may still run."""
        return self.state not in _DEAD_STATES


def look(pid: int) -> Seen | None:
    """Return what is known of one process; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The command's name stands in brackets and may hold anything, brackets and spaces too.
    fields = text[text.rindex(b")") + 2 :].split()
    parent, group, session = (int(field) for field in fields[1:4])
    return Seen(pid, fields[0].decode(), parent, group, session, int(fields[19]))


def started(pid: int) -> int:
    """Return when the process was started, in ticks; 0 when there is none."""
    seen = look(pid)
    return 0 if seen is None else seen.started


def lives(pid: int, when_started: int) -> bool:
    """Tell whether exactly this process may still run, and not another of the same number."""
    seen = look(pid)
    return seen is not None and seen.alive and seen.started == when_started


def everyone() -> dict[int, Seen]:
    """Return all processes by pid."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            seen = look(int(name))
            if seen is not None:
                table[seen.pid] = seen
    return table


def descendants(table: dict[int, Seen], roots: Iterable[int]) -> dict[int, Seen]:
    """Return the children of the roots, their children, and so on; not the roots."""
    children: dict[int, list[Seen]] = {}
    for seen in table.values():
        children.setdefault(seen.parent, []).append(seen)
    found: dict[int, Seen] = {}
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                waiting.append(child.pid)
    return found


def carries(pid: int, variable: bytes) -> bool:
    """Tell whether the process was started with NAME=value in its environment."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return variable in file.read().split(b"\0")
    return False

"""How the processes of one run are found, and killed, whatever they did to be apart.

    below     under the keeper, which adopts every orphan of its run
    session   of the program's own session
    marked    started with the run's mark in COORD_RUN_ID, which names the runs around it, too

Each belt catches what the others let go: a change of the cgroup changes no parent, a daemon
that forks for others has no parent of ours, and a process with an empty environment has no mark.
The first two cost one look at /proc and never wait; the third one may (marks.py), and comes last.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

from coordinator.runtime.linux import processes
from coordinator.runtime.linux.processes import ProcessSnapshot, Seen

VARIABLE = "COORD_RUN_ID"
_STOPPED = "T"
#: A run that grows after so many rounds of stopping is killed all the same.
_STOPS_MAX = 200


class Trace(NamedTuple):
    """Traces by which the processes of one run are known."""

    marker: str  #: of this run and no other
    keeper: int = 0  #: the guardian's child, under which all others are
    keeper_started: int = 0
    pid: int = 0  #: the program's first process, which leads its session
    started: int = 0

    def told(self) -> dict[str, Any]:
        """Return it as a part of a handle."""
        return self._asdict()

    def keeper_lives(self) -> bool:
        """Tell whether exactly this keeper may still run."""
        return bool(self.keeper) and processes.lives(self.keeper, self.keeper_started)

    def related(self, look: ProcessSnapshot, *, uncollected: bool = False) -> dict[int, Seen]:
        """Return the living processes below the keeper or in the program's session.

        uncollected: the keeper is our child still, so its number is its own, seen or not.
        """
        found: dict[int, Seen] = {}
        keeper = look.of(self.keeper)
        exact = keeper is not None and keeper.started == self.keeper_started
        if self.keeper > 1 and (uncollected or exact):  # below 0 and 1 is everybody
            found = look.below((self.keeper,))
        found |= self._of_session(look)
        return _living(found, look)

    def marked(self, look: ProcessSnapshot) -> dict[int, Seen]:
        """Return the living processes with the mark, and those below them."""
        if not self.marker:
            return {}
        found = {s.pid: s for s in look.carrying(VARIABLE.encode(), self.marker.encode())}
        found.pop(self.keeper, None)
        return _living(found | look.below(found.keys() - look.spared), look)

    def unsure(self, look: ProcessSnapshot) -> bool:
        """Tell whether there is a keeper or a leader that cannot be told from another process."""
        return look.hides(self.keeper) or look.hides(self.pid)

    def _of_session(self, look: ProcessSnapshot) -> dict[int, Seen]:
        if self.pid <= 1 or look.hides(self.pid):
            return {}
        leader = look.of(self.pid)
        if leader is not None and leader.started != self.started:
            return {}  # the number was given to another process, and nobody of ours is left in it
        found = {seen.pid: seen for seen in look.of_session(self.pid)}
        return found | look.below(found)


def traced(handle: Mapping[str, Any]) -> Trace:
    """Read the trace in a handle."""
    numbers = (int(handle[name]) for name in ("keeper", "keeper_started", "pid", "started"))
    return Trace(str(handle["marker"]), *numbers)


def kill(victims: Mapping[int, Seen], keeper: int) -> tuple[Seen, ...]:
    """SIGKILL each, and each group whole; return those that the kernel protects from us.

    A group's kill also catches a fork in between. Before each kill the process is looked at once
    more: its number may have been given to another since.
    """
    refused: list[Seen] = []
    own = os.getsid(0)
    groups: set[int] = set()
    for seen in victims.values():
        if seen.pid <= 1:
            continue  # 0 and below mean many processes, and 1 all of them
        # Between fork and setsid the program is still in its keeper's group.
        if seen.session != own and seen.group not in groups | {0, 1, keeper}:
            groups.add(seen.group)
            now = processes.look(seen.pid)
            if now is not None and _same(now, seen):
                with contextlib.suppress(OSError):
                    os.killpg(seen.group, signal.SIGKILL)
        if not kill_one(seen):
            refused.append(seen)
    return tuple(refused)


class Chase:
    """The rounds of one killer against one run, which may fork while it is killed.

    Each death makes room for another fork, where processes are limited. So while each look finds
    new ones all are stopped, and they are killed by the first look that finds none.
    """

    def __init__(self) -> None:
        self._found: set[tuple[int, int]] = set()
        self._stops = 0
        self.grew = False  #: the last round found somebody whom none before had found

    def strike(self, victims: Mapping[int, Seen], keeper: int) -> tuple[Seen, ...]:
        """Stop or SIGKILL each; return those that the kernel protects from us."""
        found = {(seen.pid, seen.started) for seen in victims.values()}
        self.grew = bool(self._found) and not found <= self._found
        self._found |= found
        if self.grew and self._stops < _STOPS_MAX:
            self._stops += 1
            running = [seen for seen in victims.values() if seen.state != _STOPPED]
            return tuple(seen for seen in running if not _signalled(seen, signal.SIGSTOP))
        return kill(victims, keeper)


def kill_one(seen: Seen) -> bool:
    """SIGKILL exactly this process; false when the kernel protects it from us."""
    return _signalled(seen, signal.SIGKILL)


def _signalled(seen: Seen, signum: int) -> bool:
    """Signal exactly this process; false when the kernel protects it from us."""
    if seen.pid <= 1:
        return True  # 0 and below mean many processes, and 1 all of them
    try:
        pidfd = os.pidfd_open(seen.pid)
    except ProcessLookupError:
        return True  # it has been collected
    except OSError:
        return True  # no descriptor to spare: it is found alive, and tried again
    try:
        # With the descriptor open the number is this process's own, or the look says otherwise.
        if processes.started(seen.pid) == seen.started:
            signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        os.close(pidfd)
    return True


def _same(now: Seen, seen: Seen) -> bool:
    return (now.started, now.group) == (seen.started, seen.group)


def _living(found: Mapping[int, Seen], look: ProcessSnapshot) -> dict[int, Seen]:
    spared = look.spared
    return {pid: seen for pid, seen in found.items() if seen.alive and pid not in spared}

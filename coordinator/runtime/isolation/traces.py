"""Traces by which the processes of one run are found and killed, wherever they have moved.

    below     below the keeper, which adopts every orphan of its run
    session   in the program's own session
    marked    started with the run's mark in COORD_RUN_ID, which also names the runs around it

Each trace catches what the others miss: a change of the cgroup does not change the parent, a daemon
that forks for others has a parent outside, and a process with an empty environment has no mark. The
first two cost one read of /proc and never wait. The third one may wait (marks.py), and comes last.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

from coordinator.protocol.guardian.chase import Chase, Signal
from coordinator.runtime.linux import processes
from coordinator.runtime.linux.processes import ProcessSnapshot, Seen

VARIABLE = "COORD_RUN_ID"
_STOPPED = "T"


class Trace(NamedTuple):
    """Values by which the processes of one run are recognised."""

    marker: str  #: unique to the run
    keeper: int = 0  #: the guardian's child, below which all others are
    keeper_started: int = 0
    pid: int = 0  #: the program's first process, which leads its session
    started: int = 0

    def told(self) -> dict[str, Any]:
        """Return it as a part of a handle."""
        return self._asdict()

    def keeper_lives(self) -> bool:
        """Say whether exactly this keeper may still run."""
        return bool(self.keeper) and processes.lives(self.keeper, self.keeper_started)

    def related(self, look: ProcessSnapshot, *, uncollected: bool = False) -> dict[int, Seen]:
        """Return the living processes below the keeper or in the program's session.

        uncollected: the keeper is still an uncollected child of this process, so its number is its
        own, whether /proc shows it or not.
        """
        found: dict[int, Seen] = {}
        keeper = look.of(self.keeper)
        exact = keeper is not None and keeper.started == self.keeper_started
        if self.keeper > 1 and (uncollected or exact):  # all processes are below 0 and 1
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
        """Say whether there is a keeper or a leader that cannot be told from another process."""
        return look.hides(self.keeper) or look.hides(self.pid)

    def _of_session(self, look: ProcessSnapshot) -> dict[int, Seen]:
        if self.pid <= 1 or look.hides(self.pid):
            return {}
        leader = look.of(self.pid)
        if leader is not None and leader.started != self.started:
            return {}  # the number was given to another process: the session has no process left
        found = {seen.pid: seen for seen in look.of_session(self.pid)}
        return found | look.below(found)


def traced(handle: Mapping[str, Any]) -> Trace:
    """Return the trace in a handle."""
    numbers = (int(handle[name]) for name in ("keeper", "keeper_started", "pid", "started"))
    return Trace(str(handle["marker"]), *numbers)


def kill(victims: Mapping[int, Seen], keeper: int) -> tuple[Seen, ...]:
    """SIGKILL each process and each group; return those that the kernel protects.

    Killing a group also catches a concurrent fork. Before each kill the process is read once
    more: its number may have been given to another process since.
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


class Chaser:
    """One killer of one run that may fork while it is killed; what it does is decided by Chase."""

    def __init__(self) -> None:
        self._chase = Chase()

    @property
    def grew(self) -> bool:
        """Say whether the last round found a process that no earlier round had found."""
        return self._chase.grew

    def stop_or_kill(self, victims: Mapping[int, Seen], keeper: int) -> tuple[Seen, ...]:
        """Stop or SIGKILL each; return those that the kernel protects."""
        found = {(seen.pid, seen.started) for seen in victims.values()}
        self._chase, decided = self._chase.after_look(found)
        if decided is Signal.KILL:
            return kill(victims, keeper)
        running = [seen for seen in victims.values() if seen.state != _STOPPED]
        return tuple(seen for seen in running if not _signalled(seen, signal.SIGSTOP))


def kill_one(seen: Seen) -> bool:
    """SIGKILL exactly this process; false when the kernel protects it."""
    return _signalled(seen, signal.SIGKILL)


def _signalled(seen: Seen, signum: int) -> bool:
    """Signal exactly this process; false when the kernel protects it."""
    if seen.pid <= 1:
        return True  # 0 and below mean many processes, and 1 all of them
    try:
        pidfd = os.pidfd_open(seen.pid)
    except ProcessLookupError:
        return True  # it has been collected
    except OSError:
        return True  # no descriptor to spare: the next round finds it alive, and tries again
    try:
        # While the descriptor is open, the number is this process's; the start time confirms it.
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

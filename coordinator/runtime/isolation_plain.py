"""Level `plain`: no help of the kernel but sessions, groups, and a subreaper.

While the keeper lives, every process of the program is below it, double forks too. When guardian
and keeper are dead, what is left is found by its session and by COORD_RUN_ID in its environment;
a process that left the session and cleared its environment is not found: the promise of this
level is smaller, and `coord doctor` says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

from coordinator.runtime import kernel, proctable, spawn
from coordinator.runtime.proctable import Look, Seen

LEVEL = "plain"


class PlainRoom:
    """One keeper for one run."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._pid = 0
        self.root = 0
        self.status_fd: int | None = None  #: where the keeper says how the program ended

    def launch(self, body: Callable[[int], object]) -> None:
        """Fork the keeper."""
        self.status_fd, write_fd = os.pipe()
        os.set_blocking(self.status_fd, False)
        try:
            self.root = spawn.fork_clean(lambda: self._keep(body, write_fd))
        finally:
            os.close(write_fd)

    def _keep(self, body: Callable[[int], object], write_fd: int) -> None:
        kernel.become_subreaper()
        spawn.keep(body, write_fd)

    def enter(self) -> None:
        """Nothing to do."""

    def change_fd(self) -> int | None:
        """Nothing to watch: the keeper's end tells everything."""
        return None

    def handle(self, pid: int) -> dict[str, Any]:
        """Return what `kill` needs in any process."""
        self._pid = pid
        return {
            "level": LEVEL,
            "keeper": self.root,
            "keeper_started": proctable.started(self.root),
            "pid": pid,
            "started": proctable.started(pid),
            "marker": self._marker,
        }

    def kill(self, root_lives: bool, look: Look) -> None:
        """SIGKILL what is found; call again until it is empty."""
        victims = _below(look, self.root) if root_lives else _marked(look, self._pid, self._marker)
        _kill_all(victims, self.root)
        if root_lives and not victims:
            os.kill(self.root, signal.SIGKILL)

    def empty(self, root_lives: bool, root_status: int, look: Look) -> bool:
        """Tell whether nothing is left; a keeper ends with 0 only when it has no child."""
        if root_lives or root_status == 0:
            return not root_lives
        return not _marked(look, self._pid, self._marker)

    def close(self) -> None:
        """Close what is open."""
        if self.status_fd is not None:
            os.close(self.status_fd)

    def clear(self) -> bool:
        """Nothing to clear up."""
        return True


def strike(handle: dict[str, Any], look: Look) -> bool:
    """SIGKILL what is found of a run through its handle; true when nothing is found any more."""
    keeper, keeper_started = int(handle["keeper"]), int(handle["keeper_started"])
    pid, marker = int(handle["pid"]), str(handle["marker"])
    if proctable.started(pid) not in (0, int(handle["started"])):
        pid = 0  # the number was given to another process
    keeper_lives = proctable.lives(keeper, keeper_started)
    victims = _below(look, keeper) if keeper_lives else {}
    # A keeper that dies during the look has handed its children on: look for the marks too.
    victims = victims or _marked(look, pid, marker)
    if victims:
        _kill_all(victims, keeper)
        return False
    if keeper_lives:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGKILL)
    return True


def _below(look: Look, keeper: int) -> dict[int, Seen]:
    """Return the living processes below the keeper, which is the whole program."""
    return _living(look.below((keeper,)))


def _marked(look: Look, pid: int, marker: str) -> dict[int, Seen]:
    """Return the living processes of the program's session or with its mark, and those below."""
    found = {seen.pid: seen for seen in look.carrying(b"COORD_RUN_ID", marker.encode())}
    if pid:
        found |= {seen.pid: seen for seen in look.of_session(pid)}
    return _living(found | look.below(found))


def _living(found: dict[int, Seen]) -> dict[int, Seen]:
    return {pid: seen for pid, seen in found.items() if seen.alive and pid != os.getpid()}


def _kill_all(victims: dict[int, Seen], keeper: int) -> None:
    """SIGKILL each, and each group whole: a group's kill also catches a fork in between."""
    own = os.getsid(0)
    groups = {seen.group for seen in victims.values() if seen.session != own}
    # Between fork and setsid the program is still in its keeper's group.
    for group in groups - {0, 1, keeper}:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    for pid in victims:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def unavailable() -> str:
    """Return nothing: this level is always there."""
    return ""

"""Level `pidns`: the program lives in a PID namespace; when its process 1 dies, all of it dies.

The keeper is that process 1 and dies with the guardian, so this level needs nobody to survive.
Process numbers inside differ from those outside.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from typing import Any

from coordinator.runtime import kernel, proctable, spawn
from coordinator.runtime.proctable import Look

LEVEL = "pidns"


class PidnsRoom:
    """One PID namespace for one run."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self.root = 0
        self.status_fd: int | None = None  #: where the keeper says how the program ended

    def launch(self, body: Callable[[int], object]) -> None:
        """Fork the keeper as process 1 of a new namespace."""
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.status_fd, write_fd = os.pipe()
        os.set_blocking(self.status_fd, False)
        try:
            kernel.unshare_pids()
            try:
                self.root = spawn.fork_clean(lambda: spawn.keep(body, write_fd))
            finally:
                # Only the keeper is born there; the next agent must not be.
                kernel.join_pids(own)
        finally:
            os.close(write_fd)
            os.close(own)

    def enter(self) -> None:
        """Nothing to do: the keeper's child is born inside."""

    def change_fd(self) -> int | None:
        """Nothing to watch: the keeper's end tells everything."""
        return None

    def handle(self, pid: int) -> dict[str, Any]:
        """Return what `kill` needs in any process."""
        started = proctable.started(self.root)
        return {"level": LEVEL, "init": self.root, "started": started, "pid": pid}

    def kill(self, root_lives: bool, _look: Look) -> None:
        """SIGKILL process 1; the kernel does the rest."""
        if root_lives:
            os.kill(self.root, signal.SIGKILL)

    def empty(self, root_lives: bool, _root_status: int, _look: Look) -> bool:
        """Tell whether nothing is left: process 1 cannot be collected before the others."""
        return not root_lives

    def close(self) -> None:
        """Close what is open."""
        if self.status_fd is not None:
            os.close(self.status_fd)

    def clear(self) -> bool:
        """Nothing to clear up."""
        return True


def strike(handle: dict[str, Any], _look: Look) -> bool:
    """SIGKILL a run through its handle; true when nothing is left."""
    init, started = int(handle["init"]), int(handle["started"])
    try:
        pidfd = os.pidfd_open(init)
    except ProcessLookupError:
        return True
    try:
        if proctable.started(init) != started:
            return True  # the number was given to another process
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        # Readable when process 1 is dead, and it cannot be before all others are.
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(pidfd)


def unavailable() -> str:
    """Try it; return why the level cannot be had here, or nothing."""
    if not os.path.exists("/proc/self/ns/pid"):
        return "the kernel has no PID namespaces"
    _, status = os.waitpid(spawn.fork_clean(_probe), 0)
    errno = os.waitstatus_to_exitcode(status)
    return "" if errno == 0 else f"no PID namespace can be made: {os.strerror(errno)}"


def _probe() -> None:
    try:
        kernel.unshare_pids()
    except OSError as error:
        os._exit(error.errno or 1)
    os._exit(0)

"""Level `pidns`: the program runs in a PID namespace; when its process 1 dies, all of it dies.

The keeper is that process 1 and dies with the guardian, so this level needs no surviving process.
Process numbers inside differ from those outside.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from typing import Any

from coordinator.runtime.isolation import plain
from coordinator.runtime.isolation.plain import PlainContainer
from coordinator.runtime.isolation.traces import Chaser
from coordinator.runtime.linux import processes, spawn, syscalls
from coordinator.runtime.linux.processes import ProcessSnapshot, Seen

LEVEL = "pidns"
PROMISE = "no process survives; it dies with the guardian by itself"


class PidnsContainer:
    """One PID namespace for one run."""

    def __init__(self, marker: str) -> None:
        self._kept = PlainContainer(marker)

    @property
    def root(self) -> int:
        """Pid of the keeper."""
        return self._kept.root

    @property
    def status_fd(self) -> int | None:
        """Descriptor on which the keeper reports how the program ended."""
        return self._kept.status_fd

    def launch(self, body: Callable[[int], object]) -> None:
        """Fork the keeper as process 1 of a new namespace."""
        self._kept.status_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._kept.status_fd, False)
        try:
            self._launch(body, write_fd)
        finally:
            os.close(write_fd)

    def _launch(self, body: Callable[[int], object], write_fd: int) -> None:
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.unshare_pids()
            try:
                keeper = spawn.fork_clean(lambda: spawn.keep(body, write_fd))
            finally:
                # Only the keeper is created in it; the next agent must not be.
                syscalls.join_pids(own)
            self._kept.launched(keeper)
        finally:
            os.close(own)

    def enter(self) -> None:
        """Do nothing: the keeper's child is created inside."""

    def change_fd(self) -> int | None:
        """Return None: the keeper's end is all that has to be watched."""
        return None

    def handle(self, pid: int) -> dict[str, Any]:
        """Return the handle by which any process can kill the run."""
        return self._kept.handle(pid) | {"level": LEVEL}

    def kill(self, root_lives: bool, look: ProcessSnapshot, *, thorough: bool) -> tuple[Seen, ...]:
        """SIGKILL process 1, with which the kernel kills the rest; then processes outside of it."""
        if root_lives:
            assert self.root > 1, "0 and below mean many processes"
            os.kill(self.root, signal.SIGKILL)
            return ()
        return self._kept.kill(root_lives, look, thorough=thorough)

    def empty(self, root_lives: bool, look: ProcessSnapshot) -> bool:
        """Say whether nothing is left: process 1 cannot be collected before the others."""
        return self._kept.empty(root_lives, look)

    @property
    def grew(self) -> bool:
        """True when the last kill found a new process."""
        return self._kept.grew

    def leads_group(self) -> bool:
        """Say whether the process group of the program's first process is still the run's own."""
        return self._kept.leads_group()

    def close(self) -> None:
        """Close the descriptors."""
        self._kept.close()

    def clear(self) -> bool:
        """Return True: the system holds nothing of the run."""
        return True


def build(marker: str) -> PidnsContainer:
    """Make the namespace for one run; marker is unique to it."""
    return PidnsContainer(marker)


def reach(*, others: bool) -> str:  # noqa: ARG001 - as all levels
    """Describe what this level can kill: all of a program, whichever users own it."""
    return "everything in the program's PID namespace"


def kill_by_handle(handle: dict[str, Any], look: ProcessSnapshot, chase: Chaser) -> bool:
    """SIGKILL a run through its handle; true when nothing is left."""
    init, started = int(handle["keeper"]), int(handle["keeper_started"])
    # Process 1 is dead only when all others of its namespace are dead.
    if not _kill_init(init, started):
        return False
    return plain.kill_by_handle(handle, look, chase)


def _kill_init(init: int, started: int) -> bool:
    """SIGKILL process 1; say whether it is dead."""
    try:
        pidfd = os.pidfd_open(init)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # no descriptor to spare: nothing is known
    try:
        seen = processes.look(init)
        if seen is not None and seen.unknown:
            return False  # it may be another process, or not
        if seen is None or seen.started != started:
            return True  # the number was given to another process
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(pidfd)


def unavailable() -> str:
    """Try the level; return why it is not available here, or an empty text.

    Errors: OSError when it cannot be tried now, for lack of a process or a descriptor.
    """
    if not os.path.exists("/proc/self/ns/pid"):
        return "the kernel has no PID namespaces"
    _, status = os.waitpid(spawn.fork_clean(_probe), 0)
    errno = os.waitstatus_to_exitcode(status)
    if errno != 0:
        return f"no PID namespace can be made: {os.strerror(errno)}"
    return plain.unavailable()


def _probe() -> None:
    try:
        syscalls.unshare_pids()
    except OSError as error:
        os._exit(error.errno or 1)
    os._exit(0)

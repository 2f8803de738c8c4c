"""Level `plain`: only sessions, process groups and a subreaper.

While the keeper lives, every process of the program is below it, even after double forks. When
guardian and keeper are dead, the rest is found by its session and by COORD_RUN_ID in its
environment. A process that left the session and cleared its environment is not found: this level
guarantees less, and the node logs that at its start.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from coordinator.runtime.isolation import traces
from coordinator.runtime.isolation.traces import Chaser, Trace
from coordinator.runtime.linux import processes, spawn, syscalls
from coordinator.runtime.linux.processes import ProcessSnapshot, Seen

LEVEL = "plain"
PROMISE = "what left its session and cleared its environment may survive the guardian"
#: Reason why no level is available: each finds escaped processes through /proc.
HIDDEN = (
    "/proc hides the node's own processes: mount it without hidepid, set ProtectProc=default in the"
    " unit, mount the /proc of this PID namespace, or run as root"
)


class PlainContainer:
    """One keeper for one run; the other levels add what the kernel offers."""

    def __init__(self, marker: str) -> None:
        self._trace = Trace(marker)
        self.root = 0
        self._chase = traces.Chaser()
        self.status_fd: int | None = None  #: on which the keeper reports how the program ended

    def launch(self, body: Callable[[int], object]) -> None:
        """Fork the keeper."""
        self.status_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.status_fd, False)
        try:
            self.launched(spawn.fork_clean(lambda: self._keep(body, write_fd)))
        finally:
            os.close(write_fd)

    def launched(self, keeper: int) -> None:
        """Note the keeper, this process's child: its number is not reused until it is collected.

        Errors: OSError when other processes could not find it; it is killed then.
        """
        assert keeper > 1, "0 and below mean many processes"
        try:
            started = processes.started_exactly(keeper)
        except OSError:
            os.kill(keeper, signal.SIGKILL)  # before it has permitted an exec
            raise
        self.root = keeper
        self._trace = self._trace._replace(keeper=keeper, keeper_started=started)

    def _keep(self, body: Callable[[int], object], write_fd: int) -> None:
        syscalls.become_subreaper()
        spawn.keep(body, write_fd)

    def enter(self) -> None:
        """Do nothing: the level has nothing to enter."""

    def change_fd(self) -> int | None:
        """Return None: the keeper's end is all that has to be watched."""
        return None

    def handle(self, pid: int) -> dict[str, Any]:
        """Return the handle by which any process can kill the run.

        Errors: OSError when the program's process cannot be read.
        """
        self._trace = self._trace._replace(pid=pid, started=processes.started_exactly(pid))
        return {"level": LEVEL, **self._trace.told()}

    def kill(self, root_lives: bool, look: ProcessSnapshot, *, thorough: bool) -> tuple[Seen, ...]:
        """SIGKILL the processes that are found; call again until none is left."""
        victims = self._trace.related(look, uncollected=root_lives)
        # A keeper hidden by /proc is left to end by itself: its children cannot be seen either.
        keeper = look.of(self.root) if root_lives and not victims else None
        if thorough or not (victims or keeper):
            victims |= self._trace.marked(look)
        refused = self._chase.stop_or_kill(victims, self.root)
        if keeper is not None:
            traces.kill_one(keeper)
        return refused

    def empty(self, root_lives: bool, look: ProcessSnapshot) -> bool:
        """Say whether nothing is left, by all that is known; an unknown process is no end."""
        if root_lives or self._trace.related(look) or self._trace.marked(look):
            return False
        return not look.blind and not self._trace.unsure(look)

    @property
    def grew(self) -> bool:
        """True when the last kill found a new process."""
        return self._chase.grew

    def leads_group(self) -> bool:
        """Say whether the process group of the program's first process is still the run's own."""
        seen = processes.look(self._trace.pid) if self._trace.pid else None
        if seen is not None:
            return seen.started == self._trace.started
        related = self._trace.related(ProcessSnapshot()).values()
        return any(seen.group == self._trace.pid for seen in related)

    def close(self) -> None:
        """Close the descriptors."""
        if self.status_fd is not None:
            os.close(self.status_fd)

    def clear(self) -> bool:
        """Return True: the system holds nothing of the run."""
        return True


def build(marker: str) -> PlainContainer:
    """Prepare one run; marker is unique to the run."""
    return PlainContainer(marker)


def reach(*, others: bool) -> str:
    """Describe what this level can kill, and what escapes it."""
    limit = "" if others else "; not what becomes another user's (su, sudo)"
    return (
        "everything that the program started, while the guardian lives; afterwards not"
        f" what left the session and cleared its environment{limit}"
    )


def kill_by_handle(handle: dict[str, Any], look: ProcessSnapshot, chase: Chaser) -> bool:
    """SIGKILL the known processes of a run through its handle; true when none of them is left."""
    trace = traces.traced(handle)
    victims = trace.related(look)
    chase.stop_or_kill(victims, trace.keeper)
    if look.blind or trace.unsure(look):
        return False
    keeper = look.of(trace.keeper)
    if not victims and keeper is not None and keeper.started == trace.keeper_started:
        # It may not have forked the program yet, or not have noticed that the program has ended.
        traces.kill_one(keeper)
        return not keeper.alive
    return not victims


def unavailable() -> str:
    """Return why the level is not available here, or an empty text: it needs /proc.

    Errors: OSError when it cannot be tried now, for lack of a process or a descriptor.
    """
    here, there = socket.socketpair()
    try:
        return "" if _shown(here, there) else HIDDEN
    finally:
        here.close()
        there.close()


def _shown(here: socket.socket, there: socket.socket) -> bool:
    """Say whether /proc shows a child that cannot be dumped; a keeper cannot either."""
    pid = spawn.fork_clean(lambda: _be_hidden(there.fileno()))
    assert pid > 1, "0 and below mean many processes"
    there.close()
    try:
        ready = here.recv(1)  # empty when the child has ended
        seen = processes.everyone().get(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return bool(ready) and seen is not None and seen.parent == os.getpid()


def _be_hidden(line_fd: int) -> None:
    """Run as the child that must be found, until its parent kills it or ends."""
    spawn.close_except((line_fd,))
    syscalls.hide()
    os.write(line_fd, b"1")
    os.read(line_fd, 1)

"""One real node of a test: `coord run` with all its processes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from coordinator.runtime.linux import interpreter
from coordinator.runtime.linux.processes import descendants, everyone
from coordinator.runtime.linux.syscalls import set_death_signal
from coordinator.testing.nodes.link import Link

#: Bound on the end of a node that was asked to leave.
LEAVE_MAX_S = 10.0


class RealNode:
    """Guardian, agent, spare and program of one node, and its link to the database."""

    def __init__(
        self, name: str, arguments: Sequence[str], environ: dict[str, str], link: Link, cwd: Path
    ) -> None:
        self.name, self.link = name, link
        self.log = cwd / f"{name}.log"
        command = [*interpreter.command("coordinator.cli"), "run", "--task-id", name, *arguments]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                env=environ | {"COORD_DATABASE_URL": link.conninfo},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._frozen: list[int] = []  #: descriptors of the processes that stand still

    def kill(self) -> None:
        """SIGKILL all its processes at one moment, as a power cut does."""
        pidfds = self._pidfds()
        # Stopped first: no process of it must see another one die.
        for signum in (signal.SIGSTOP, signal.SIGKILL):
            _signal(pidfds, signum)
        _close(pidfds)
        _close(self._frozen)
        self._frozen = []
        self.process.wait()

    def freeze(self) -> None:
        """Stop all its processes, as a machine that stands still does."""
        self._frozen += self._pidfds()
        _signal(self._frozen, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its processes go on, the guardian first: it kills the program if its time is over."""
        _signal(self._frozen, signal.SIGCONT)
        _close(self._frozen)
        self._frozen = []

    def end(self) -> None:
        """Let it leave its group; kill what has not left in time."""
        self.thaw()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LEAVE_MAX_S)
        if self.process.poll() is None:
            self.kill()

    def _pidfds(self) -> list[int]:
        """Return descriptors of all its processes, the guardian's first."""
        found: list[int] = []
        if self.process.poll() is not None:
            return found
        below = descendants(everyone(), [self.process.pid])
        for pid in (self.process.pid, *below):
            assert pid > 1, "0 and below mean many processes"
            with contextlib.suppress(ProcessLookupError):
                found.append(os.pidfd_open(pid))
        return found


def _signal(pidfds: Sequence[int], signum: signal.Signals) -> None:
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signum)
    if signum == signal.SIGKILL:
        poll = select.poll()
        for pidfd in pidfds:
            poll.register(pidfd, select.POLLIN)
            poll.poll(LEAVE_MAX_S * 1000)
            poll.unregister(pidfd)


def _close(pidfds: Sequence[int]) -> None:
    for pidfd in pidfds:
        os.close(pidfd)


def _end_with_parent() -> None:
    """Let a node get SIGTERM when the test's process dies; called in the child."""
    set_death_signal(signal.SIGTERM)

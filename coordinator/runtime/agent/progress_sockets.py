"""Progress reports of programs, in the protocol of sd_notify(3).

A program that is to report progress gets a socket of its own in NOTIFY_SOCKET, and the interval
in WATCHDOG_USEC, as from a service manager: `WATCHDOG=1` reports progress. Every language has a
library for it, and a shell has `systemd-notify`.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterable, Set

from coordinator.ports import Clock
from coordinator.protocol.node.events import Event, ProgramProgressed

#: Longest datagram that is read; the rest of a longer one is dropped.
DATAGRAM_MAX = 4096
#: Datagrams read from one socket in one turn: a program that sends many must not delay others.
DATAGRAMS_PER_TURN = 64
ALIVE = (b"WATCHDOG=1", b"READY=1")


class ProgressLines:
    """One socket for each run that reports progress, behind one descriptor."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._lines: dict[int, socket.socket] = {}

    def open(self, run: int) -> str:
        """Return the address for NOTIFY_SOCKET, whose messages count for this run.

        The name is in the abstract namespace, to which every process may write: so it is random.
        """
        line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        line.setblocking(False)
        name = f"coord/{os.urandom(16).hex()}"
        line.bind(f"\0{name}")
        self._lines[run] = line
        self._epoll.register(line, select.EPOLLIN)
        return f"@{name}"

    def keep(self, runs: Set[int]) -> None:
        """Close the sockets of all other runs."""
        for run in self._lines.keys() - runs:
            line = self._lines.pop(run)
            self._epoll.unregister(line)
            line.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable when a program has sent a message."""
        return self._epoll.fileno()

    def events(self) -> Iterable[Event]:
        """Yield one event for each run that has reported progress since the last call."""
        if not self._lines:
            return
        ready = {fd for fd, _ in self._epoll.poll(0)}
        for run, line in self._lines.items():
            if line.fileno() in ready and self._got_on(line):
                yield ProgramProgressed(self._clock.now(), run)

    def close(self) -> None:
        """Close everything."""
        self.keep(frozenset())
        self._epoll.close()

    @staticmethod
    def _got_on(line: socket.socket) -> bool:
        got_on = False
        with contextlib.suppress(BlockingIOError):
            for _ in range(DATAGRAMS_PER_TURN):
                words = line.recv(DATAGRAM_MAX).split(b"\n")
                got_on = got_on or any(word in ALIVE for word in words)
        return got_on

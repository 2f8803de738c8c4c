"""Gate of one run: a socket at which the program waits until its node is active (rules Y5 to Y8).

A process of the program connects to the abstract unix socket that `COORD_GATE` names ("@NAME"), and
reads. While it does, the program counts as ready. Opening writes one line, "TERM SESSION", to
everybody who waits or still comes, and closes the connection. Only processes of this node's user,
or root's, are answered.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct

from coordinator.runtime.linux.clock import BoottimeClock

#: Variable that names the gate to the program.
VARIABLE = "COORD_GATE"
#: An abstract name has its whole length: some clients (Node) fill it up with NUL bytes.
PREFIX, NAME_LENGTH = "coord-gate-", 107
#: Processes of one program that may wait at the same time.
WAITING_MAX = 16
_CREDENTIALS = struct.Struct("@iII")
_HUNG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Gate:
    """The listening socket of a gate, and who waits there."""

    def __init__(self) -> None:
        self._line = ""  #: line that is written once the gate is open
        self._told = False
        self.missed = False  #: trust was over when it was to be opened
        self._until = 0.0
        self._clock = BoottimeClock()
        self._waiting: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._poll = select.epoll()
        name = PREFIX + os.urandom((NAME_LENGTH - len(PREFIX)) // 2).hex()
        self.name = f"@{name}"
        try:
            self._listener.bind(f"\0{name}")
            self._listener.listen(WAITING_MAX)
            self._poll.register(self._listener, select.EPOLLIN)
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return a descriptor that is readable when somebody comes or goes."""
        return self._poll.fileno()

    def open(self, term: int, session: str, trusted_until: float) -> None:
        """Let everybody in who waits, and whoever comes later, as long as the run is trusted."""
        self._line = f"{term} {session}\n"
        self._until = trusted_until
        if self._clock.now() >= trusted_until:  # the very last check (S2)
            self.missed = True
            return
        for line in list(self._waiting.values()):
            self._let_in(line)

    def extend(self, trusted_until: float) -> None:
        """Move the moment after which nobody is let in any more."""
        self._until = max(self._until, trusted_until)

    def news(self) -> bool | None:
        """Take note of who came and went; return whether somebody waits, if that has changed."""
        for fd, _ in self._poll.poll(0):
            if fd == self._listener.fileno():
                self._meet()
            elif fd in self._waiting:
                self._forget(self._waiting[fd])
        waiting = bool(self._waiting)
        if waiting == self._told or self._line:
            return None
        self._told = waiting
        return waiting

    def close(self) -> None:
        """Close everything; nothing of the run is left."""
        for line in self._waiting.values():
            line.close()
        self._waiting.clear()
        self._listener.close()
        self._poll.close()

    def _meet(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    line, _ = self._listener.accept()
                except (ConnectionError, InterruptedError):
                    continue
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    return  # no descriptor at present; it is tried again
                line.setblocking(False)
                if len(self._waiting) >= WAITING_MAX or not _is_own(line):
                    line.close()
                elif self._line:
                    self._let_in(line)
                else:
                    self._waiting[line.fileno()] = line
                    self._poll.register(line, _HUNG_UP)

    def _let_in(self, line: socket.socket) -> None:
        """Write term and session to one process, unless trust is over."""
        if not self.missed and self._clock.now() < self._until:
            with contextlib.suppress(OSError):
                line.send(self._line.encode())
        self._forget(line)

    def _forget(self, line: socket.socket) -> None:
        if self._waiting.pop(line.fileno(), None) is not None:
            self._poll.unregister(line)
        line.close()


def _is_own(line: socket.socket) -> bool:
    """Say whether the process at the other end belongs to this user, or to root."""
    packed = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1]) in (0, os.geteuid())

"""One run of the program as the guardian's process sees it: fork, permission, end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct

from coordinator.protocol import guard_words as words
from coordinator.protocol.guard_words import Event
from coordinator.runtime import isolation, spawn

#: The trust board: two native doubles, trusted_until and the moment of the last extension.
BOARD = struct.Struct("@dd")
_CREDENTIALS = struct.Struct("@iII")
_PACKET_MAX = 65_536


class Life:
    """The processes of one run, from launch until nothing is left."""

    def __init__(self, order: words.StartOrdered, level: str) -> None:
        self.run = order.run
        self.pid = 0  #: the program's first process
        marker = os.urandom(12).hex()
        self._room = isolation.build(level, marker)
        self._line, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Credentials name the program's process as we see it, whatever its own namespace says.
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._board_fd = os.memfd_create("coord-trust", os.MFD_CLOEXEC)
        os.pwrite(self._board_fd, BOARD.pack(order.trusted_until, 0.0), 0)
        self.line_over = False  #: nothing more will come from line_fd
        self._may_run = False
        self._root_lives = True
        self._root_code = 0
        self._status: int | None = None  #: how the first process ended, once known
        self._left = 1  #: whether the keeper still had something to keep then
        self._told = False
        try:
            self._launch(order, marker, far)
        except OSError:
            self._root_lives = False
            self.close()
            raise
        finally:
            far.close()

    def _launch(self, order: words.StartOrdered, marker: str, far: socket.socket) -> None:
        # Read-only: a program must not be able to write itself more trust.
        read_fd = os.open(f"/proc/self/fd/{self._board_fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            env = spawn.environment(order, marker, read_fd)
            launch = spawn.Launch(order, far.fileno(), read_fd, env, self._room.enter)
            self._room.launch(lambda parent: spawn.become_program(launch, parent))
        finally:
            os.close(read_fd)

    # --- what the selector watches --------------------------------------------------------------

    @property
    def root(self) -> int:
        """The guardian's own child: the program, or its keeper."""
        return self._room.root

    def line_fd(self) -> int:
        """Return where the program's process says that it is ready, or refused."""
        return self._line.fileno()

    def status_fd(self) -> int | None:
        """Return where a keeper says how the program ended."""
        return self._room.status_fd

    def change_fd(self) -> int | None:
        """Return what polls urgent when something about `gone` may have changed."""
        return self._room.change_fd()

    # --- orders ---------------------------------------------------------------------------------

    def let_go(self, trusted_until: float) -> None:
        """Permit the exec."""
        self._may_run = True
        with contextlib.suppress(OSError):
            self._line.send(spawn.PERMISSION.pack(trusted_until))

    def write_board(self, trusted_until: float, extended_at: float) -> None:
        """Show the program how long it is trusted."""
        os.pwrite(self._board_fd, BOARD.pack(trusted_until, extended_at), 0)

    def signal(self, signum: int) -> None:
        """Signal the program's process group; SIGTERM wakes a stopped one too."""
        if not self.pid:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)
            if signum == signal.SIGTERM:
                os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL every process of it, once."""
        self._room.kill(self._root_lives)

    def close(self) -> None:
        """Clear up; nothing of it is left."""
        self._line.close()
        os.close(self._board_fd)
        self._room.close()

    # --- what happened --------------------------------------------------------------------------

    def read_line(self) -> list[Event]:
        """Return what the program's process said before its exec."""
        events: list[Event] = []
        while not self.line_over:
            try:
                packet, ancillary, _, _ = self._line.recvmsg(
                    _PACKET_MAX, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                break
            except ConnectionError:
                packet, ancillary = b"", []
            if packet == spawn.READY:
                self.pid = _sender(ancillary)
                events.append(words.ProgramReady(self.run, self.pid, self._room.handle(self.pid)))
            elif packet:
                said = json.loads(packet)
                self._may_run = False
                events.append(words.ProgramRefused(self.run, said["why"], said["code"]))
            else:
                # The exec closed it; or a kill did, and then "it ran" is the safe belief.
                self.line_over = True
                if self._may_run:
                    events.append(words.ProgramStarted(self.run))
        return events

    def read_status(self) -> None:
        """Take in what the keeper says about the program's end."""
        fd = self._room.status_fd
        if fd is None or self._status is not None:
            return
        with contextlib.suppress(BlockingIOError):
            if text := os.read(fd, 64):
                self._status, self._left = (int(field) for field in text.split())

    def root_ended(self, code: int) -> None:
        """Note that our own child was collected."""
        self.read_status()
        self._root_lives, self._root_code = False, code
        if self._room.status_fd is None:
            self._status = code

    def news(self) -> tuple[list[Event], bool]:
        """Return what has changed about the end of the program, and whether nothing is left."""
        events = self.read_line()
        gone = self._room.empty(self._root_lives, self._root_code)
        if self._status is None or self._told:
            if gone:
                events.append(words.ProgramGone(self.run))
        elif gone or self._left:
            # Otherwise the keeper has nothing left to keep: its own end, at once, says more.
            self._told = True
            events.append(words.ProgramEnded(self.run, self._status, left=not gone))
        return events, gone


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0])
    raise AssertionError("SO_PASSCRED is set, so every packet names its sender")

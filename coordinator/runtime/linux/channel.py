"""Messages between the processes of one node: one JSON object per packet of a unix socket.

The socket keeps packets whole and in order, shows the end of the peer, and passes descriptors.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import Iterable
from typing import Any

Message = dict[str, Any]
Received = tuple[Message | None, list[int]]

#: A packet must fit into the socket's buffer; a longer text is sent in a memfd beside it.
PACKET_MAX = 60_000
#: A reader that does not make room within this many seconds is hung.
SEND_MAX_S = 0.2
#: Largest number of descriptors in one message.
FDS_MAX = 8

_FD_SIZE = array.array("i").itemsize
_CREDENTIALS = struct.Struct("@iII")
_ANCILLARY = socket.CMSG_SPACE(FDS_MAX * _FD_SIZE) + socket.CMSG_SPACE(_CREDENTIALS.size)
_IN_MEMFD = b"@"


class Channel:
    """One end of a channel between two processes of a node."""

    __slots__ = ("_socket", "peer_pid")

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.peer_pid: int | None = None  #: sender of the last message received

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Take over an inherited or passed descriptor."""
        os.set_inheritable(fd, False)
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor, for a selector; -1 when closed."""
        return self._socket.fileno()

    def send(self, message: Message, fds: Iterable[int] = (), wait_s: float = SEND_MAX_S) -> bool:
        """Send one message; false when the peer is gone, or makes no room within wait_s."""
        passed = list(fds)
        packet = json.dumps(message, separators=(",", ":")).encode()
        memfd: int | None = None
        if len(packet) > PACKET_MAX:
            try:
                memfd = _in_memfd(packet)
            except OSError:
                return False  # no descriptor or memory to spare: like a peer without room
            passed.append(memfd)
            packet = _IN_MEMFD
        try:
            return self._send(packet, passed, wait_s)
        finally:
            if memfd is not None:
                os.close(memfd)

    def _send(self, packet: bytes, fds: list[int], wait_s: float) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        for last in (False, True):
            try:
                self._socket.sendmsg([packet], rights, flags)
            except BlockingIOError:
                if last or not self._writable(wait_s):
                    return False
            except OSError:
                return False  # the peer is gone: `receive` will report it
            else:
                return True
        return False

    def _writable(self, wait_s: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(wait_s * 1000))

    def receive(self) -> Received:
        """Wait for one message; None when the peer has closed its end or is dead."""
        return self._receive(0)

    def poll(self) -> Received | None:
        """Return a message that has come, or None; (None, []) when the peer is gone."""
        try:
            return self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def _receive(self, flags: int) -> Received:
        packet, ancillary = receive(self._socket, PACKET_MAX, _ANCILLARY, flags)
        if not packet:
            return None, []
        fds = self._take(ancillary)
        if packet == _IN_MEMFD:
            if not fds:
                return None, []  # no descriptor to spare: a channel that loses messages is over
            packet = _from_memfd(fds.pop())
        message = json.loads(packet)
        if not isinstance(message, dict):
            raise ValueError("a message is a JSON object")
        return message, fds

    def _take(self, ancillary: list[tuple[int, int, bytes]]) -> list[int]:
        fds: list[int] = []
        for level, kind, content in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_RIGHTS:
                whole = len(content) - len(content) % _FD_SIZE
                fds.extend(array.array("i", content[:whole]))
            elif kind == socket.SCM_CREDENTIALS:
                self.peer_pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
        return fds

    def maker_pid(self) -> int:
        """Return the process that made this channel with `pair`."""
        credentials = self._socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        return int(_CREDENTIALS.unpack(credentials)[0])

    def detach(self) -> int:
        """Give up the descriptor, for a process that inherits it or is sent it."""
        return self._socket.detach()

    def close(self) -> None:
        """Close this end; the peer sees the end of the channel."""
        with contextlib.suppress(OSError):
            self._socket.close()


def receive(
    end: socket.socket, length_max: int, ancillary_max: int, flags: int
) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """Return the next packet and its ancillary data; an empty packet when the peer is gone.

    A peer that closes with something unread makes the next read fail with ECONNRESET, once. What
    it had sent before is still there, and may be the message that it ends in order.
    Errors: BlockingIOError when nothing has come yet and the flags forbid waiting.
    """
    flags |= socket.MSG_CMSG_CLOEXEC
    while True:
        try:
            return end.recvmsg(length_max, ancillary_max, flags)[:2]
        except ConnectionResetError:
            continue
        except ConnectionError:
            return b"", []


def pair() -> tuple[Channel, Channel]:
    """Return the two ends of a new channel."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(one), Channel(other)


def _in_memfd(packet: bytes) -> int:
    fd = os.memfd_create("coord-message", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(packet)
    return fd


def _from_memfd(fd: int) -> bytes:
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()

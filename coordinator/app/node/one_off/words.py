"""Addresses of the sockets by which a node, an asker and a one-off command find each other.

All are in the abstract namespace, which leaves no files behind. Every process may connect there, so
each end asks the kernel for the other's user, and speaks to its own user only.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

#: First part of the address of every node's door.
_DOORS = "coord/when-active"
_CREDENTIALS = struct.Struct("@iII")
#: The kernel's list of unix sockets; "@" there stands for the null byte of an abstract address.
_SOCKETS = Path("/proc/net/unix")


@dataclass(frozen=True, slots=True)
class Door:
    """Address of the door of one agent on this machine."""

    address: str
    uid: int


def random_address(group: str, uid: int) -> str:
    """Return a new address for the door of a node of this group."""
    return f"{_DOORS}/{uid}/{_digest(group)}/{os.urandom(8).hex()}"


def doors(group: str) -> tuple[Door, ...]:
    """Return the doors of the group's nodes in this network namespace, of all users.

    Errors: OSError where /proc does not show them.
    """
    # Everybody gives their sockets what names they like, with line ends in them, too.
    door = re.compile(rf"@({_DOORS}/([0-9]{{1,10}})/{_digest(group)}/[0-9a-f]+)\n")
    listed = _SOCKETS.read_text(errors="replace")
    found = {Door(name, int(uid)) for name, uid in door.findall(listed)}
    return tuple(sorted(found, key=lambda door: door.address))


def _digest(group: str) -> str:
    return hashlib.blake2b(group.encode(), digest_size=8).hexdigest()


def bound(address: str, backlog: int) -> socket.socket:
    """Listen at an address."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.setblocking(False)
        listener.bind(f"\0{address}")
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def connected(address: str) -> socket.socket:
    """Connect to an address without waiting for a place in its queue."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        end.setblocking(False)
        end.connect(f"\0{address}")
        end.setblocking(True)
    except OSError:
        end.close()
        raise
    return end


def peer(end: socket.socket) -> tuple[int, int]:
    """Return process and user of the other end."""
    packed = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(packed)
    return int(pid), int(uid)


def is_own(end: socket.socket) -> bool:
    """Say whether the other end belongs to this process's user."""
    return peer(end)[1] == os.geteuid()

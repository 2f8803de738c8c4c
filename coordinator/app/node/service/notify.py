"""Messages to a service manager, in the protocol of sd_notify(3)."""

from __future__ import annotations

import socket
from contextlib import suppress


def notify(address: str, text: str) -> None:
    """Send one message; a manager that is gone, or does not read, holds no node up."""
    where = f"\0{address[1:]}" if address.startswith("@") else address
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
    ):
        line.setblocking(False)
        line.sendto(text.encode(), where)

"""The node's end of a socket for reports of progress."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_socket() -> Iterator[tuple[str, Callable[[], list[bytes]]]]:
    """Give the address for NOTIFY_SOCKET, and a function that returns what has come so far."""
    name = f"coord-test/{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{name}")
        line.setblocking(False)

        def come() -> list[bytes]:
            found: list[bytes] = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(line.recv(4096))
            return found

        yield f"@{name}", come

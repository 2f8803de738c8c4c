"""A receiver of webhooks on loopback, which answers each connection as the test says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\n\r\n"
#: A test that needs longer has failed.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Delivery:
    """One request: its first line, its headers by their names in small letters, and its body."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Receiver:
    """Threads that take connections; `answer` has the socket after the request was read."""

    listener: socket.socket
    answer: Callable[[socket.socket], None]
    deliveries: list[Delivery] = field(default_factory=list)
    connections: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/coord"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._answer, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_S)
            delivery = _read(connection)
            if delivery is not None:
                self.deliveries.append(delivery)
                self.answer(connection)


def says(answer: bytes) -> Callable[[socket.socket], None]:
    """Return what sends one answer and closes."""
    return lambda connection: connection.sendall(answer)


@contextlib.contextmanager
def receiver(answer: Callable[[socket.socket], None] | bytes = OK) -> Iterator[Receiver]:
    """Listen until the end of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Receiver(listener, says(answer) if isinstance(answer, bytes) else answer)
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(PATIENCE_S)


def _read(connection: socket.socket) -> Delivery | None:
    """Read one request; None: the sender has only connected."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        more = connection.recv(65_536)
        if not more:
            return None
        raw += more
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value for key, _, value in (each.partition(": ") for each in rest)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65_536)
    return Delivery(line, headers, body)

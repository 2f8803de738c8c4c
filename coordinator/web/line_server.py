"""Thread that sends one line to each client that connects: the agent-check of HAProxy.

What a client sends is read and put aside: an end that leaves bytes unread would be a reset, which
may overtake the line. A client that is slow or silent costs nothing but its own connection.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from coordinator.web.listening import listening, written

#: The other side has so long to end its connection, once it was sent the line.
LINGER_S = 1.0
#: Enough for tens of proxies; one more closes the oldest.
CONNECTIONS_MAX = 32
READ_BYTES = 4096
#: Out of descriptors, accepting pauses for so long instead of spinning.
ACCEPT_PAUSE_S = 0.1
JOIN_S = 2.0


class LineServer:
    """Server of a line, until it is closed; `address` has the port that the system chose.

    setting: the name of what has the address, for the error.
    Errors: ConfigError if it cannot listen on the address.
    """

    def __init__(self, host: str, port: int, line: Callable[[], str], *, setting: str) -> None:
        self._line = line
        self._listeners = listening(host, port, setting=setting)
        self.address: tuple[str, int] = (host, self._listeners[0].getsockname()[1])
        self._ends: dict[socket.socket, float] = {}  #: the oldest connection first
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._stopping = threading.Event()
        for one in (*self._listeners, self._woken):
            self._selector.register(one, selectors.EVENT_READ)
        self._thread: threading.Thread | None = None
        self.begin()

    def begin(self) -> None:
        """Begin to serve, unless it has begun; if no thread can be made, call it again later."""
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._serve, name="coord-agent-check", daemon=True)
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    @property
    def where(self) -> str:
        """Address, as it is written in a URL."""
        return written(*self.address)

    def close(self) -> None:
        """Stop serving; open connections are closed."""
        self._stopping.set()
        with suppress(OSError):  # it has ended
            self._wake.send(b".")
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        except Exception:  # top of the thread: the port is closed, so a proxy sees the end
            logging.getLogger("coord").exception("the agent-check has ended")
        finally:
            for one in (*self._ends, *self._listeners, self._wake, self._woken):
                one.close()
            self._selector.close()

    def _turn(self) -> None:
        """Wait for the next event, and handle it."""
        first = next(iter(self._ends.values()), None)
        wait_s = None if first is None else max(0.0, first - time.monotonic())
        for key, _ in self._selector.select(wait_s):
            found = key.fileobj
            assert isinstance(found, socket.socket), "only sockets are registered"
            if found in self._listeners:
                self._accept(found)
            elif found in self._ends:
                self._read(found)
        now = time.monotonic()
        for late in [one for one, ends_at in self._ends.items() if ends_at <= now]:
            self._drop(late)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client reset it before it was accepted
        except OSError:
            self._stopping.wait(ACCEPT_PAUSE_S)
            return
        if len(self._ends) >= CONNECTIONS_MAX:
            self._drop(next(iter(self._ends)))
        client.setblocking(False)
        self._ends[client] = time.monotonic() + LINGER_S
        self._selector.register(client, selectors.EVENT_READ)
        try:
            client.send(f"{self._line()}\n".encode())  # a new connection has room for a line
            client.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(client)

    def _read(self, client: socket.socket) -> None:
        try:
            if client.recv(READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # it was reset
        self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        del self._ends[client]
        self._selector.unregister(client)
        client.close()

"""Thread that answers HTTP on a node: GET, HEAD and OPTIONS, nothing that changes state.

One thread serves all connections. Their number, the size of a request and the time for it are
bounded; a connection that is slow, broken or reset costs nothing but itself and is never logged.
"""

from __future__ import annotations

import errno
import logging
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coordinator.errors import ConfigError
from coordinator.web.endpoints import Reply
from coordinator.web.http1 import METHODS, Refusal, Request, parse, render

#: Time limit of a request, from its first byte to its answer, and of an idle connection.
REQUEST_MAX_S = 5.0
#: The rest of a refused request is read for this long: an immediate close would lose the answer.
LINGER_S = 1.0
#: Enough for tens of load balancers. At the limit, the connection nearest its end is closed.
CONNECTIONS_MAX = 128
#: At most this share of the descriptors: the agent needs the others, above all for its database.
DESCRIPTORS_SHARE = 4
BACKLOG = 128
READ_BYTES = 4096
#: Out of descriptors, accepting pauses for so long instead of spinning.
ACCEPT_PAUSE_S = 0.1
JOIN_S = 2.0
#: This machine lacks the address, or its family.
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

Answer = Callable[[str], Reply]


@dataclass(slots=True, eq=False)
class Connection:
    """Connection of a client: bytes received, bytes to send, and the moment of its end."""

    socket: socket.socket
    ends_at: float
    received: bytearray = field(default_factory=bytearray)
    sending: bytearray = field(default_factory=bytearray)
    closing: bool = False  #: ends once everything is sent
    lingering: bool = False  #: everything is sent; further input is discarded


class Server:
    """HTTP server, until it is closed; `address` has the port that the system chose."""

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        self._answer = answer
        self._listeners = listening(host, port, setting="http.listen")
        self.address: tuple[str, int] = (host, self._listeners[0].getsockname()[1])
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = CONNECTIONS_MAX if soft < 0 else min(CONNECTIONS_MAX, soft // DESCRIPTORS_SHARE)
        self._connections_max = max(1, limit)
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._stopping = threading.Event()
        self._accept_at: float | None = None  #: None: connections are accepted now
        self._selector.register(self._stopped, selectors.EVENT_READ, None)
        self._resume_accepting()
        self._thread: threading.Thread | None = None
        self.begin()

    def begin(self) -> None:
        """Begin to serve, unless it has begun; if no thread can be made, call it again later."""
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._serve, name="coord-http", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return
        self._thread = thread

    @property
    def where(self) -> str:
        """Address, as it is written in a URL."""
        return _written(*self.address)

    def close(self) -> None:
        """Stop serving; open connections are closed."""
        self._stopping.set()
        self._stop.send(b".")
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        except Exception:  # top of the thread: the port is closed, so a load balancer sees the end
            logging.getLogger("coord").exception("the HTTP endpoints have ended")
        finally:
            for connection in tuple(self._connections):
                self._drop(connection)
            for one in (*self._listeners, self._stop, self._stopped):
                one.close()
            self._selector.close()

    def _turn(self) -> None:
        """Wait for the next event, and handle it."""
        now = time.monotonic()
        ends = [connection.ends_at for connection in self._connections]
        if self._accept_at is not None:
            ends.append(self._accept_at)
        wait_s = max(0.0, min(ends) - now) if ends else None
        for key, events in self._selector.select(wait_s):
            if isinstance(key.data, Connection):
                self._attend(key.data, events)
            elif isinstance(key.fileobj, socket.socket) and key.fileobj is not self._stopped:
                self._accept(key.fileobj)
        now = time.monotonic()
        for connection in [each for each in self._connections if each.ends_at <= now]:
            self._drop(connection)
        if self._accept_at is not None and self._accept_at <= now:
            self._resume_accepting()

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client reset it before it was accepted
        except OSError:
            self._pause_accepting()
            return
        if len(self._connections) >= self._connections_max:
            self._drop(min(self._connections, key=lambda each: each.ends_at))
        accepted.setblocking(False)
        connection = Connection(accepted, time.monotonic() + REQUEST_MAX_S)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _pause_accepting(self) -> None:
        if self._accept_at is None:
            for listener in self._listeners:
                self._selector.unregister(listener)
        self._accept_at = time.monotonic() + ACCEPT_PAUSE_S

    def _resume_accepting(self) -> None:
        self._accept_at = None
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ, None)

    def _attend(self, connection: Connection, events: int) -> None:
        """Read, answer and write as far as possible without waiting; an error ends it silently."""
        if connection not in self._connections:
            return  # it was dropped for another one in this turn
        try:
            if events & selectors.EVENT_READ and not self._read(connection):
                self._drop(connection)
                return
            self._write(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        if connection in self._connections:
            waits_for = selectors.EVENT_WRITE if connection.sending else selectors.EVENT_READ
            self._selector.modify(connection.socket, waits_for, connection)

    def _read(self, connection: Connection) -> bool:
        """Read what has arrived and answer it; return False if the client is gone."""
        received = connection.socket.recv(READ_BYTES)
        if not received:
            return False
        if not connection.lingering and not connection.closing:
            connection.received += received
            self._answer_all(connection)
        return True

    def _answer_all(self, connection: Connection) -> None:
        while not connection.closing and (found := parse(bytes(connection.received))):
            request, size = found
            del connection.received[:size]
            connection.sending += self._reply(request)
            connection.closing = isinstance(request, Refusal) or not request.keeps_open
            connection.ends_at = time.monotonic() + REQUEST_MAX_S

    def _reply(self, request: Request | Refusal) -> bytes:
        if isinstance(request, Refusal):
            refused = Reply(request.status, {"error": request.error}, 0)
            return render(refused, with_body=True, keeps_open=False)
        reply = self._answer(request.path)
        if request.method not in METHODS:
            error = f"{request.method} is not allowed; this node answers {', '.join(METHODS)}"
            reply = Reply(405, {"error": error}, reply.term)
        with_body = request.method != "HEAD"
        return render(reply, with_body=with_body, keeps_open=request.keeps_open)

    def _write(self, connection: Connection) -> None:
        if connection.sending:
            sent = connection.socket.send(connection.sending)
            del connection.sending[:sent]
        if connection.closing and not connection.sending and not connection.lingering:
            connection.lingering = True
            connection.ends_at = time.monotonic() + LINGER_S
            connection.socket.shutdown(socket.SHUT_WR)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of "host:port" or ":port"; without a host, the loopback interface."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def listening(host: str, port: int, *, setting: str) -> list[socket.socket]:
    """Listen on every address of the host; "::" takes IPv4 as well.

    setting: the name of what has the address, for the error.
    Errors: ConfigError if it cannot listen on any of them, or one is in use.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        found.sort(key=lambda each: each[0] != socket.AF_INET)
        missing: OSError | None = None
        for family, _, _, _, listed in dict.fromkeys(found):
            address: tuple[Any, ...] = listed
            if port == 0 and opened:
                address = (address[0], opened[0].getsockname()[1], *address[2:])
            try:
                opened.append(_listener(family, address))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                missing = error  # "localhost" is ::1 too, on machines that have no IPv6
        if missing is not None and not opened:
            raise missing
    except (OSError, UnicodeError) as error:
        for each in opened:
            each.close()
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{setting}: {_written(host, port)}: {why}") from error
    return opened


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listener(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener

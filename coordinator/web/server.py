"""Thread that answers HTTP on a node: GET, HEAD and OPTIONS, nothing that changes state.

One thread serves all connections. Their number, the size of a request and the time for it are
bounded; a connection that is slow, broken or reset costs nothing but itself and is never logged.
"""

from __future__ import annotations

import logging
import resource
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from coordinator.web.http1 import (
    HEAD_BYTES_MAX,
    METHODS,
    Refusal,
    Reply,
    Request,
    parse,
    render,
)
from coordinator.web.listening import listening, written

#: Time limit of a request, from its first byte to its answer, and of an idle connection.
REQUEST_MAX_S = 5.0
#: The rest of a refused request is read for this long: an immediate close would lose the answer.
LINGER_S = 1.0
#: Enough for tens of load balancers. At the limit, the connection nearest its end is closed.
CONNECTIONS_MAX = 128
#: At most this share of the descriptors: the agent needs the others, above all for its database.
DESCRIPTORS_SHARE = 4
READ_BYTES = 4096
#: Requests that wait behind one whose answer comes later; more of them end the connection.
RECEIVED_BYTES_MAX = 2 * HEAD_BYTES_MAX
#: Requests that came together are answered until so much waits for the client to read it.
SENDING_BYTES_MAX = 65536
#: Out of descriptors, accepting pauses for so long instead of spinning.
ACCEPT_PAUSE_S = 0.1
JOIN_S = 2.0
#: An answer that comes later, from another thread, is waited for so long.
LATER_MAX_S = 8.0

Deliver = Callable[[Reply], None]
#: Answers a request at once, or returns None and delivers the answer later, from any thread.
Answer = Callable[[Request, Deliver], Reply | None]


@dataclass(slots=True, eq=False)
class Connection:
    """Connection of a client: bytes received, bytes to send, and the moment of its end.

    asked: the request whose answer comes later; those behind it wait.
    """

    socket: socket.socket
    ends_at: float
    received: bytearray = field(default_factory=bytearray)
    sending: bytearray = field(default_factory=bytearray)
    closing: bool = False  #: ends once everything is sent
    lingering: bool = False  #: everything is sent; further input is discarded
    asked: Request | None = None


class Server:
    """HTTP server, until it is closed; `address` has the port that the system chose.

    term: the term that its owner knows, for answers that the server gives by itself.
    """

    def __init__(
        self, host: str, port: int, answer: Answer, term: Callable[[], int] = lambda: 0
    ) -> None:
        self._answer, self._term = answer, term
        self._listeners = listening(host, port, setting="http.listen")
        self.address: tuple[str, int] = (host, self._listeners[0].getsockname()[1])
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = CONNECTIONS_MAX if soft < 0 else min(CONNECTIONS_MAX, soft // DESCRIPTORS_SHARE)
        self._connections_max = max(1, limit)
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._delivered: deque[tuple[Connection, Request, Reply]] = deque()
        self._stopping = threading.Event()
        self._accept_at: float | None = None  #: None: connections are accepted now
        self._selector.register(self._woken, selectors.EVENT_READ, None)
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
        return written(*self.address)

    def close(self) -> None:
        """Stop serving; open connections are closed."""
        self._stopping.set()
        self._wake_up()
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
            for one in (*self._listeners, self._wake, self._woken):
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
            elif key.fileobj is self._woken:
                self._woken.recv(READ_BYTES)
            elif isinstance(key.fileobj, socket.socket):
                self._accept(key.fileobj)
        self._send_delivered()
        now = time.monotonic()
        for connection in [each for each in self._connections if each.ends_at <= now]:
            self._end(connection)
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

    def _send_delivered(self) -> None:
        """Send the answers that other threads have delivered since the last turn."""
        while self._delivered:
            connection, request, reply = self._delivered.popleft()
            if connection not in self._connections or connection.asked is not request:
                continue  # the client is gone
            connection.asked = None
            self._take_answer(connection, request, reply)
            self._answer_all(connection)
            self._attend(connection, 0)

    def _read(self, connection: Connection) -> bool:
        """Read what has arrived and answer it; return False if the client is gone."""
        received = connection.socket.recv(READ_BYTES)
        if not received:
            return False
        if not connection.lingering and not connection.closing:
            connection.received += received
            self._answer_all(connection)
        return len(connection.received) <= RECEIVED_BYTES_MAX

    def _answer_all(self, connection: Connection) -> None:
        """Answer the requests that have come; those behind one that is answered later wait.

        The others wait, too, while the client has much to read.
        """
        while (
            not connection.closing
            and len(connection.sending) < SENDING_BYTES_MAX
            and connection.asked is None
            and (found := parse(bytes(connection.received)))
        ):
            request, size = found
            del connection.received[:size]
            if isinstance(request, Refusal):
                refused = Reply(request.status, {"error": request.error}, None)
                connection.sending += render(
                    refused, self._term(), with_body=True, keeps_open=False
                )
                connection.closing = True
                connection.ends_at = time.monotonic() + REQUEST_MAX_S
            elif (reply := self._reply(connection, request)) is not None:
                self._take_answer(connection, request, reply)
            else:
                connection.asked = request
                connection.ends_at = time.monotonic() + LATER_MAX_S

    def _reply(self, connection: Connection, request: Request) -> Reply | None:
        if request.method in METHODS:
            return self._answer(request, lambda reply: self._deliver(connection, request, reply))
        error = f"{request.method} is not allowed; this node answers {', '.join(METHODS)}"
        return Reply(405, {"error": error}, None)

    def _take_answer(self, connection: Connection, request: Request, reply: Reply) -> None:
        """Append an answer to the bytes to send; after the last one the connection closes."""
        with_body, keeps_open = request.method != "HEAD", request.keeps_open
        connection.sending += render(
            reply, self._term(), with_body=with_body, keeps_open=keeps_open
        )
        connection.closing = not keeps_open
        connection.ends_at = time.monotonic() + REQUEST_MAX_S

    def _deliver(self, connection: Connection, request: Request, reply: Reply) -> None:
        """Take an answer from another thread."""
        self._delivered.append((connection, request, reply))
        self._wake_up()

    def _end(self, connection: Connection) -> None:
        """End a connection whose time is over; one that still waits for its answer is told so."""
        request, connection.asked = connection.asked, None
        if request is None:
            self._drop(connection)
            return
        late = Reply(503, {"error": f"no answer within {LATER_MAX_S:g} s"}, None)
        self._take_answer(connection, request, late)
        self._attend(connection, 0)

    def _wake_up(self) -> None:
        with suppress(OSError):  # it is awake already, or has ended
            self._wake.send(b".")

    def _write(self, connection: Connection) -> None:
        if connection.sending:
            sent = connection.socket.send(connection.sending)
            del connection.sending[:sent]
            self._answer_all(connection)
        if connection.closing and not connection.sending and not connection.lingering:
            connection.lingering = True
            connection.ends_at = time.monotonic() + LINGER_S
            connection.socket.shutdown(socket.SHUT_WR)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()

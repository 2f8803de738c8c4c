"""Server of the page in a thread of its own: bounded, and soon over when it is stopped."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from coordinator.web.page.feed import Feed

#: Connections at once, of which STREAMS_MAX may be streams. One more ends the one that waits
#: longest for its client; when all are being answered, it is answered with 503.
CONNECTIONS_MAX = 256
#: At most this share of the descriptors: the readers of the database need the others.
DESCRIPTORS_SHARE = 4
#: A client that reads nothing for so long is gone, or might as well be.
UNREAD_S = 20.0
#: A request, its headers included, has to arrive within this time.
REQUEST_S = 5.0
HEADERS_BYTES_MAX = 16384
BACKLOG = 128
#: Streams end by themselves; what else is still being answered gets this long.
GRACE_S = 1
JOIN_S = 2.0


class Server:
    """Thread that serves on sockets that listen already, until it is closed."""

    def __init__(self, application: ASGIApp, feed: Feed, sockets: list[socket.socket]) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        share = CONNECTIONS_MAX if soft < 0 else max(1, soft // DESCRIPTORS_SHARE)
        limit = min(CONNECTIONS_MAX, share)
        config = uvicorn.Config(
            application,
            http=type("Protocol", (BoundedProtocol,), {"connections_max": limit}),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limit + 1,
            timeout_keep_alive=int(REQUEST_S),
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
            backlog=min(BACKLOG, limit),
        )
        self._feed, self._sockets = feed, sockets
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="coord-page", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False once the server has ended by itself."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End all streams, then the server."""
        self._feed.close()
        self._server.should_exit = True
        self._thread.join(JOIN_S)
        for each in self._sockets:
            each.close()

    def _run(self) -> None:
        # A client's broken request is no news, and uvicorn would write a line for each.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(troubled)
        await self._server.serve(sockets=self._sockets)


class BoundedProtocol(H11Protocol):
    """Protocol of one connection that ends it when a request does not arrive in time.

    An idle connection gets REQUEST_S until the first byte of its next request, and the request as
    long from there to its last byte. At the limit, the connection that waits longest is ended.
    """

    connections_max = CONNECTIONS_MAX
    _late: asyncio.TimerHandle | None = None
    _begun = False  #: a part of the next request has come

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the request."""
        super().connection_made(transport)
        options = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        transport.get_extra_info("socket").setsockopt(*options)
        self._wait()
        if len(self.connections) > self.connections_max:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Let a request that begins now take its time."""
        if not self._begun:
            self._begun = True
            self._wait()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._begun = False
        self._wait()
        super().on_response_complete()

    @property
    def waits(self) -> bool:
        """True while the client has to send something, the rest of a body included."""
        cycle: Any = self.cycle  # None before the first request, whatever the stubs say
        return cycle is None or cycle.response_complete or cycle.more_body

    def _wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(REQUEST_S, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if self.waits and not self.transport.is_closing():
            self.transport.close()

    def _make_room(self) -> None:
        """End the connection that waits longest; with none, this one is answered with 503."""
        others = (each for each in self.connections if isinstance(each, BoundedProtocol))
        ends = {each: each._late.when() for each in others if each is not self and each._late}
        waiting = [each for each in ends if each.waits and not each.transport.is_closing()]
        if waiting:
            min(waiting, key=ends.__getitem__).transport.abort()


def troubled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Write a line about a bug; out of descriptors, asyncio accepts again in a second."""
    error = context.get("exception")
    if not isinstance(error, OSError):
        what = f"{type(error).__name__}: {error}" if error else context["message"]
        logging.getLogger("coord").error("the page: unexpected error: %s", what)

"""Server of the page in a thread of its own: bounded, and soon over when it is stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from coordinator.web.page.feed import Feed

#: Connections at once, of which STREAMS_MAX may be streams; one more is answered with 503.
CONNECTIONS_MAX = 256
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
        config = uvicorn.Config(
            application,
            http=BoundedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=int(REQUEST_S),
            timeout_graceful_shutdown=GRACE_S,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
            backlog=BACKLOG,
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
        asyncio.run(self._server.serve(sockets=self._sockets))


class BoundedProtocol(H11Protocol):
    """Protocol of one connection that ends it when its first request does not arrive in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(REQUEST_S, self._end_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _end_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()

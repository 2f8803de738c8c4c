"""Connections of the token service: one request each, bounded in size, number and time.

A connection that holds a token is answered with one line of JSON, and stays open. Its end gives the
token back. When the token is lost, a second line says so, and the connection is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from http import HTTPStatus
from typing import Any

from coordinator.app.tokens.asked import METHODS, Asked, Hold, Look, Renew, Return, understand
from coordinator.app.tokens.leases import Lease, Leases, TooManyLeasesError
from coordinator.errors import ConfigError, CoordError, TokenHeldError
from coordinator.web.http1 import HEAD_BYTES_MAX, Refusal, parse

#: Time for a request to arrive, and for an answer to be taken.
REQUEST_MAX_S = 5.0
#: Twice the leases: a client may ask about its token beside holding it.
CONNECTIONS_MAX = 128
READ_BYTES = 4096


class TokenService:
    """Answers requests until it is closed."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def serve(self, listener: socket.socket) -> None:
        """Begin to accept connections of a listening socket."""
        start: Any = asyncio.start_server
        if listener.family == socket.AF_UNIX:
            start = asyncio.start_unix_server
        self._by_tcp = listener.family != socket.AF_UNIX
        self._server = await start(self._accepted, sock=listener, limit=HEAD_BYTES_MAX)

    async def close(self) -> None:
        """Give all tokens back, and end all connections."""
        if self._server is not None:
            self._server.close()
        await self._leases.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "each connection has a task"
        self._clients.add(task)
        # The connection of a client that breaks off ends, and nothing else does. asyncio would
        # report one that `close` cancels as an error of its own.
        with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.CancelledError):
            try:
                if len(self._clients) > CONNECTIONS_MAX:
                    error = f"{CONNECTIONS_MAX} connections are open already"
                    await _refuse(writer, Refusal(503, error))
                else:
                    await self._answer(reader, writer)
            finally:
                self._clients.discard(task)
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = b""
        async with asyncio.timeout(REQUEST_MAX_S):
            while (found := parse(received)) is None:
                piece = await reader.read(READ_BYTES)
                if not piece:
                    return
                received += piece
        request = found[0]
        asked: Asked | Refusal
        if isinstance(request, Refusal):
            asked = request
        else:
            asked = understand(request, by_tcp=self._by_tcp)
        match asked:
            case Refusal():
                await _refuse(writer, asked)
            case Hold():
                await self._hold(asked, reader, writer)
            case Look(name=name):
                await self._look(name, writer)
            case Renew():
                await self._renew(asked, writer)
            case Return():
                await self._give_back(asked, writer)

    async def _look(self, name: str, writer: asyncio.StreamWriter) -> None:
        lease = self._leases.find(name)
        if lease is None:
            await _send(writer, 404, {"name": name, "held": False})
        else:
            # The id of a lease is for its client alone: it gives the token back.
            facts = {key: fact for key, fact in lease.facts().items() if key != "lease"}
            await _send(writer, 200, {**facts, "held": lease.token.is_held()})

    async def _renew(self, asked: Renew, writer: asyncio.StreamWriter) -> None:
        lease = self._leases.find(asked.name, asked.lease)
        if lease is None:
            await _refuse(writer, _over(asked.name))
        elif lease.until is None:
            error = "this lease ends with its connection, and has no time of its own"
            await _refuse(writer, Refusal(409, error))
        else:
            self._leases.renew(lease, asked.ttl_s)
            await _send(writer, 200, {**lease.facts(), "ttl": asked.ttl_s})

    async def _give_back(self, asked: Return, writer: asyncio.StreamWriter) -> None:
        lease = self._leases.find(asked.name, asked.lease)
        if lease is None:
            await _refuse(writer, _over(asked.name))
        else:
            await self._leases.give_back(lease)
            await _send(writer, 200, {"name": asked.name, "held": False})

    async def _hold(
        self, asked: Hold, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        waiting = asyncio.ensure_future(self._leases.hold(asked.name, asked.timeout_s, asked.ttl_s))
        gone = asyncio.ensure_future(_end_of(reader))
        try:
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await _tell(asked, waiting, gone, writer)
        finally:
            gone.cancel()
            waiting.cancel()
            if asked.ttl_s is None:
                _give_back(waiting)


async def _tell(
    asked: Hold,
    waiting: asyncio.Task[Lease],
    gone: asyncio.Task[None],
    writer: asyncio.StreamWriter,
) -> None:
    """Tell a client of its lease, or why there is none; hold it until the client has gone."""
    error = waiting.exception()
    if isinstance(error, CoordError):
        await _refuse(writer, _refusal_of(error))
        return
    lease = waiting.result()
    if asked.ttl_s is not None:
        await _send(writer, 201, {**lease.facts(), "ttl": asked.ttl_s})
        return
    await _send(writer, 200, lease.facts(), until_closed=True)
    ended = asyncio.ensure_future(lease.ended.wait())
    try:
        await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
    if lease.lost:
        await _write(writer, _line({"lost": lease.lost}))


def _give_back(waiting: asyncio.Task[Lease]) -> None:
    """Give the token of a connection back that has ended, if it had been granted."""
    if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
        waiting.result().give_back()


async def _end_of(reader: asyncio.StreamReader) -> None:
    """Wait until a client has gone; what it still sends is thrown away."""
    with contextlib.suppress(OSError):
        while await reader.read(READ_BYTES):
            pass


def _over(name: str) -> Refusal:
    error = f"there is no such lease of {name} any more: the token is not held for you"
    return Refusal(410, error)


def _refusal_of(error: CoordError) -> Refusal:
    match error:
        case TokenHeldError():
            return Refusal(409, str(error))
        case TooManyLeasesError():
            return Refusal(503, str(error))
        case ConfigError():
            return Refusal(400, str(error))
        case _:
            return Refusal(503, str(error))


async def _refuse(writer: asyncio.StreamWriter, refusal: Refusal) -> None:
    await _send(writer, refusal.status, {"error": refusal.error})


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: dict[str, object],
    *,
    until_closed: bool = False,
) -> None:
    """Send an answer.

    until_closed: more lines may follow, and the end of the connection is the end of the answer.
    """
    text = _line(body)
    known = HTTPStatus(status)
    lines = [f"HTTP/1.1 {known.value} {known.phrase}", "Content-Type: application/json"]
    lines += ["Cache-Control: no-store", "Connection: close"]
    if status == 405:
        lines.append(f"Allow: {', '.join(METHODS)}")
    if not until_closed:
        lines.append(f"Content-Length: {len(text)}")
    await _write(writer, "\r\n".join(lines).encode() + b"\r\n\r\n" + text)


async def _write(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Write, and wait for a slow client only so long."""
    writer.write(text)
    async with asyncio.timeout(REQUEST_MAX_S):
        await writer.drain()


def _line(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode() + b"\n"

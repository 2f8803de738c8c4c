"""A TCP proxy in a node's path to the database: it is slow, stalls, or resets; it loses nothing.

Bytes arrive in order and once, later than they were sent, or not before the stall is over.
Connections are accepted all the time, also while it stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.conninfo import conninfo_to_dict, make_conninfo

#: One read; and so many reads may wait in one direction before the sender has to.
READ_BYTES = 65_536
WAITING_MAX = 1_000
END_S = 5.0
#: Linger on with 0 s: closing sends RST and throws away what was not sent.
RESET = struct.pack("ii", 1, 0)


class StallingProxy:
    """Stands before the server that a conninfo names; its methods are for the test's thread."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._delay_s = {"to_server": 0.0, "to_client": 0.0}
        self._open: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._markers: list[tuple[str, bytes]] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stalling-proxy")
        self._thread.start()
        self._server = self._wait_for(asyncio.start_server(self._accepted, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    @property
    def conninfo(self) -> str:
        """Conninfo of a connection through the proxy."""
        return make_conninfo(self._upstream, host="127.0.0.1", port=str(self.port))

    def lead_to(self, upstream: str) -> None:
        """Lead connections to another server from now on; those that are open stay."""
        self._upstream = upstream

    def delay(self, to_server_s: float = 0.0, to_client_s: float = 0.0) -> None:
        """Delay what arrives from now on by so many seconds in each direction."""
        self._delay_s = {"to_server": to_server_s, "to_client": to_client_s}

    def stall(self) -> None:
        """Pass nothing on until `resume`, and keep what arrives."""
        self._wait_for(self._set_flowing(False))

    def stall_before(self, *markers: tuple[str, bytes]) -> None:
        """Stall once, when all these have come one after the other; the last one is kept.

        Shapes: pairs of a direction ("to_server", "to_client") and bytes of one piece.
        """
        self._markers = list(markers)

    @property
    def stalled(self) -> bool:
        """True while nothing passes."""
        return not self._flowing.is_set()

    def resume(self) -> None:
        """Pass on what was kept, in order, and everything that comes."""
        self._wait_for(self._set_flowing(True))

    def reset(self) -> None:
        """End every connection with RST to both sides; new ones are accepted."""
        self._wait_for(self._reset())

    def end(self) -> None:
        """Close everything and end the thread."""
        self._wait_for(self._refuse())
        self._wait_for(self._reset())
        self._wait_for(self._end_pumps())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        self._loop.close()

    # --- on the loop --------------------------------------------------------------------------

    def _wait_for(self, coroutine):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(END_S)

    async def _refuse(self) -> None:
        """Accept nobody any more; a server belongs to the thread of its loop."""
        self._server.close()

    async def _set_flowing(self, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _reset(self) -> None:
        for writer in list(self._open):
            end = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # a Unix socket has no RST; its end is enough
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _end_pumps(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._connect()
        for end in (writer, far_writer):
            self._open.add(end)
        for source, sink, direction in (
            (reader, far_writer, "to_server"),
            (far_reader, writer, "to_client"),
        ):
            arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_MAX)
            for pump in (self._take_in(source, arrived, direction), self._pass_on(arrived, sink)):
                task = self._loop.create_task(pump)
                self._pumps.add(task)
                task.add_done_callback(self._pumps.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = conninfo_to_dict(self._upstream)
        host, port = str(where["host"]), str(where.get("port", "5432"))
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))

    async def _take_in(
        self,
        source: asyncio.StreamReader,
        arrived: asyncio.Queue[tuple[float, bytes]],
        direction: str,
    ) -> None:
        """Note when each piece is due; an empty piece is the end."""
        while True:
            try:
                piece = await source.read(READ_BYTES)
            except ConnectionError:
                piece = b""
            self._look_for_marker(direction, piece)
            await arrived.put((self._loop.time() + self._delay_s[direction], piece))
            if not piece:
                return

    def _look_for_marker(self, direction: str, piece: bytes) -> None:
        if self._markers and self._markers[0][0] == direction and self._markers[0][1] in piece:
            del self._markers[0]
            if not self._markers:
                self._flowing.clear()

    async def _pass_on(
        self, arrived: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        """Pass each piece on when it is due and nothing stalls; the end of one way ends both."""
        with contextlib.suppress(ConnectionError):
            while True:
                due_at, piece = await arrived.get()
                await asyncio.sleep(due_at - self._loop.time())
                await self._flowing.wait()
                if not piece:
                    break
                sink.write(piece)
                await sink.drain()
        self._open.discard(sink)
        sink.close()


@contextmanager
def stalling_proxy(upstream: str) -> Iterator[StallingProxy]:
    """Give a proxy before the server of a conninfo, and end it."""
    made = StallingProxy(upstream)
    try:
        yield made
    finally:
        made.end()

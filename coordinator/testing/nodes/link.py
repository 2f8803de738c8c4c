"""Link of one node to the database, which a test may cut.

A cut link passes nothing on in either direction, and closes nothing: both ends believe that their
connections live, as they do when a cable is pulled. What was sent meanwhile arrives after `heal`.
No privilege is needed: the link is a unix socket in front of the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

#: One read; a pump holds no more, so a cut link makes its senders wait.
READ_BYTES = 65_536
#: Bound on an order to the link's thread, and on its end.
ORDER_MAX_S = 30.0


class Link:
    """Path from one node to the server whose unix socket a conninfo names."""

    def __init__(self, conninfo: str) -> None:
        named = conninfo_to_dict(conninfo)
        socket = f".s.PGSQL.{named['port']}"
        self._upstream = os.path.join(str(named["host"]), socket)
        self._home = tempfile.mkdtemp(prefix="coord-link-")
        self.conninfo = make_conninfo(conninfo, host=self._home)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="coord-link")
        self._thread.start()
        path = os.path.join(self._home, socket)
        self._server = self._order(asyncio.start_unix_server(self._accepted, path))

    def cut(self) -> None:
        """Pass nothing on, and accept connections without an answer."""
        self._order(self._flow(False))

    def heal(self) -> None:
        """Pass everything on, what was kept first."""
        self._order(self._flow(True))

    def close(self) -> None:
        """Close everything and end the thread."""
        self._order(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ORDER_MAX_S)
        self._loop.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _order(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(ORDER_MAX_S)

    # --- in the link's thread -------------------------------------------------------------------

    async def _flow(self, flows: bool) -> None:
        if flows:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _end(self) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server makes a task for each connection"
        self._pumps.add(task)
        try:
            # asyncio would report a connection that the end cancels as an error of its own.
            with contextlib.suppress(asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            self._pumps.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect two ends, and close both when one of them is closed."""
        with contextlib.closing(writer):
            await self._flowing.wait()
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_unix_connection(self._upstream)
                with contextlib.closing(far_writer):
                    pumps = {
                        asyncio.ensure_future(self._pump(reader, far_writer)),
                        asyncio.ensure_future(self._pump(far_reader, writer)),
                    }
                    try:
                        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for pump in pumps:
                            pump.cancel()
                        await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(READ_BYTES):
            await self._flowing.wait()
            writer.write(piece)
            await writer.drain()
        await self._flowing.wait()  # the end of a connection does not pass a cut either

"""Token as a coroutine that holds it sees it; nothing of it waits in an executor."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from coordinator.app.api.asynchronous.own_thread import in_own_thread
from coordinator.runtime.holders.holding import Holding

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from coordinator.app.api.asynchronous.state import AsyncTokenState
    from coordinator.app.checkpoints.holding import HoldingCheckpoints

    #: Connections that a caller may bring for a fenced transaction.
    C = TypeVar("C", AsyncConnection, AsyncSession, psycopg.AsyncConnection[Any])


class AsyncToken:
    """Token that a block of this event loop holds.

    Attributes: name, node, term and session, as in `Token`.
    lost:    an asyncio.Event that is set when the token is lost, and not when it is given back.
    lost_future: an asyncio.Future that has the reason of the loss as its result, and is cancelled
             when the token is given back.
    """

    def __init__(self, holding: Holding, conninfo: str, schema: str) -> None:
        self._holding, self._conninfo, self._schema = holding, conninfo, schema
        self.name = holding.group
        self.node = holding.node
        self.term = holding.term
        self.session = holding.session
        self._loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()
        self.lost_future: asyncio.Future[str] = self._loop.create_future()
        self._in_loop(functools.partial(holding.on_end, last=True), self._note_end)

    def __repr__(self) -> str:
        state = f"held, {self.seconds_left:.1f} s left" if self.is_held() else "not held"
        return f"<AsyncToken {self.name} term {self.term} of {self.node}: {state}>"

    @property
    def deadline(self) -> float:
        """Moment after which the token must not be acted on, unless a heartbeat moves it.

        Units: seconds of this machine's CLOCK_BOOTTIME.
        """
        return self._holding.trusted_until

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative when the token is not held any more."""
        return self._holding.seconds_left

    def is_held(self) -> bool:
        """Return True if this process may act on the token at this moment."""
        return self._holding.is_held()

    def check(self) -> None:
        """Return when the token is held at this moment.

        Errors: TokenLostError when it is not.
        """
        self._holding.check()

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Call back in the event loop with the reason once the token is lost.

        The callback is not called when the token is given back.
        """
        self._in_loop(self._holding.on_lost, callback)

    def transaction(self, connection: C) -> AbstractAsyncContextManager[C]:
        """Make the next transaction of a connection one that can commit only under this token.

        connection: a psycopg AsyncConnection, or an SQLAlchemy AsyncConnection or AsyncSession of
            an engine that uses psycopg, of the same database and without an open transaction. It is
            committed at the end of the block and stays open. None is made here: to look up a
            host's name would take a thread of the loop's executor.
        Errors: as `Token.transaction`.
        """
        self.check()
        from coordinator.store.program.fenced_async import fenced_async

        return _itself(
            connection, fenced_async(connection, self._schema, self.name, self.term, self.session)
        )

    @property
    def state(self) -> AsyncTokenState:
        """Bytes that a holder saves for the next one: `await state.get()`, `state.put(content)`.

        In a transaction of `transaction`: `await state.get_in(connection)`, `state.put_in(
        connection, content)`.
        """
        from coordinator.app.api.asynchronous.state import AsyncTokenState

        return AsyncTokenState(
            conninfo=self._conninfo,
            schema=self._schema,
            token=self.name,
            term=self.term,
            session=self.session,
        )

    async def checkpoint(
        self, content: bytes | str | PathLike[str], *, keep: int = 5, rows_max: int = 8 << 20
    ) -> int:
        """Keep bytes, a file or a directory for the next holder, in a thread of its own.

        Arguments and errors are those of `Token.checkpoint`; it returns the sequence.
        """
        self.check()
        keeping = self._checkpoints()
        return await in_own_thread(
            "coord-checkpoint", lambda: keeping.keep(content, keep=keep, rows_max=rows_max)
        )

    async def restore(self, path: str | PathLike[str]) -> bool:
        """Restore the last checkpoint to a path at which nothing is, in a thread of its own.

        Returns False if there is none. Errors: as `Token.restore`.
        """
        keeping = self._checkpoints()
        return await in_own_thread("coord-checkpoint", lambda: keeping.restore(path))

    def _checkpoints(self) -> HoldingCheckpoints:
        from coordinator.app.checkpoints.holding import HoldingCheckpoints

        return HoldingCheckpoints(
            self._conninfo,
            self._schema,
            token=self.name,
            term=self.term,
            session=self.session,
            node=self.node,
        )

    def _note_end(self, reason: str | None) -> None:
        """Take the end of the holding, in the loop; None: it was given back."""
        if reason is None:
            self.lost_future.cancel()
            return
        self.lost.set()
        if not self.lost_future.done():
            self.lost_future.set_result(reason)

    def _in_loop(
        self, register: Callable[[Callable[[Any], None]], None], callback: Callable[[Any], None]
    ) -> None:
        """Register a callback that another thread calls, so that it runs in the event loop."""

        def tell(reason: object) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(callback, reason)

        register(tell)


@asynccontextmanager
async def _itself(given: C, block: AbstractAsyncContextManager[object]) -> AsyncIterator[C]:
    """Enter a block, and yield what was given."""
    async with block:
        yield given

"""Token as the code that holds it sees it: whether it is held, its term, and fenced writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar, overload

from coordinator.runtime.holders.holding import Holding

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from coordinator.app.checkpoints.holding import HoldingCheckpoints
    from coordinator.store.program.state import TokenState

    #: Connections that a caller may bring for a fenced transaction.
    C = TypeVar("C", "Connection", "Session", "psycopg.Connection[Any]")


class Token:
    """Token that a block of this process holds.

    Attributes:
    name:    of the token: the group's, or "group/name".
    node:    the name of this process in the group; it begins with the taskId.
    term:    a number that rises with every holding: the fencing token.
    session: a uuid; with the term it names this holding even when the database lost terms.
    lost:    a threading.Event that is set when the token is lost, and not when it is given back.
    lost_future: a concurrent.futures.Future that has the reason of the loss as its result, and is
             cancelled when the token is given back.
    """

    def __init__(self, holding: Holding, conninfo: str, schema: str) -> None:
        self._holding, self._conninfo, self._schema = holding, conninfo, schema
        self.name = holding.group
        self.node = holding.node
        self.term = holding.term
        self.session = holding.session
        self.lost = threading.Event()
        self.lost_future: Future[str] = Future()
        holding.on_end(self._note_end, last=True)

    def __repr__(self) -> str:
        state = f"held, {self.seconds_left:.1f} s left" if self.is_held() else "not held"
        return f"<Token {self.name} term {self.term} of {self.node}: {state}>"

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

        The process can be paused between this check and the code after it, so only a fenced write
        is safe against that.
        Errors: TokenLostError when it is not held.
        """
        self._holding.check()

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Call back with the reason once the token is lost; at once if it already is.

        The callback is not called when the token is given back. It runs in a thread of the
        coordinator and must not block. An exception of it is logged and changes nothing else.
        """
        self._holding.on_lost(callback)

    @overload
    def transaction(self) -> AbstractContextManager[Connection]: ...

    @overload
    def transaction(self, connection: C) -> AbstractContextManager[C]: ...

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """Open a transaction that can commit only while this token is held.

        The token's row is locked FOR SHARE until the commit, so no takeover can slip between the
        check and the commit. search_path, time zone and limits stay those of the role; the commit
        is durable whatever synchronous_commit says.

        connection: an SQLAlchemy Connection or Session, or a psycopg Connection, of the same
            database and without an open transaction; it is committed at the end of the block and
            stays open. None: a new SQLAlchemy connection.
        Errors: TokenLostError when the token is not this holding's any more, or the connection
        broke before the commit: nothing was written. OutcomeUnknownError when it broke later: read
        again what was written, before you do it again. UsageError when a transaction is open.
        """
        self.check()
        from coordinator.store.program.fenced_transaction import fenced_on, fenced_transaction

        holding = (self.name, self.term, self.session)
        if connection is None:
            return fenced_transaction(self._conninfo, self._schema, *holding)
        return _itself(connection, fenced_on(connection, self._schema, *holding))

    def _note_end(self, reason: str | None) -> None:
        """Take the end of the holding; None: it was given back."""
        if reason is None:
            self.lost_future.cancel()
            return
        self.lost.set()
        if self.lost_future.set_running_or_notify_cancel():
            self.lost_future.set_result(reason)

    @property
    def state(self) -> TokenState:
        """Bytes that a holder saves for the next one: `state.get()`, `state.put(content)`.

        In a transaction of `transaction`: `state.get_in(connection)`, `state.put_in(connection,
        content)`.
        """
        from coordinator.store.program.state import TokenState

        return TokenState(
            conninfo=self._conninfo,
            schema=self._schema,
            token=self.name,
            term=self.term,
            session=self.session,
        )

    def checkpoint(
        self, content: bytes | str | PathLike[str], *, keep: int = 5, rows_max: int = 8 << 20
    ) -> int:
        """Keep bytes, or the file or directory at a path, for the next holder; return its sequence.

        It is kept as rows of the database up to rows_max bytes, else on the disks of the group's
        nodes. keep: so many checkpoints of this token stay.
        Errors: TokenLostError when the token is not this holding's any more: nothing was kept.
        SourceChangedError when a file changes while it is read. DiskError when no disk has room.
        """
        self.check()
        return self._checkpoints().keep(content, keep=keep, rows_max=rows_max)

    def restore(self, path: str | PathLike[str]) -> bool:
        """Restore the last checkpoint to a path at which nothing is; False if there is none.

        Errors: CheckpointLostError, with numbers, when too few segments can be read.
        """
        return self._checkpoints().restore(path)

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


@contextmanager
def _itself(given: C, block: AbstractContextManager[object]) -> Iterator[C]:
    """Enter a block, and yield what was given."""
    with block:
        yield given

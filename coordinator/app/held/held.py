"""The holding under which a program runs, for the program itself.

import coordinator

held = coordinator.held()               # group, node, term and session, from the environment
while work_left():
    held.check()                        # raises TokenLostError once the deadline has passed
    do_some(held.term)                  # every system written to refuses a lower term
    held.progress()
with held.transaction() as connection:  # commits only while the token is held
    connection.exec_driver_sql("UPDATE ...")

Nothing has to be configured: `coord run` has said all of it to the program, its children and
theirs. Nothing is loaded but the standard library before the first transaction.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar, overload

from coordinator.app.held.progress import ProgressReports
from coordinator.app.held.trust import find_board
from coordinator.errors import ConfigError, OutsideProgramError, TokenLostError
from coordinator.protocol.messages.group_record import token_name
from coordinator.runtime.schedule.trust_board import TrustBoard

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from coordinator.app.checkpoints.holding import HoldingCheckpoints
    from coordinator.store.program.state import TokenState

    #: Connections that a caller may bring for a fenced transaction.
    C = TypeVar("C", "Connection", "Session", "psycopg.Connection[Any]")

#: Schema of coord's tables where nothing else is said, as in app/config/settings.py.
DEFAULT_SCHEMA = "coord"


class Held:
    """Token that `coord run` holds for the program to which this process belongs.

    It is the same in every process of the program, after a fork too, and needs no upkeep.

    Attributes:
    name:    of the token: the group's, or `group/task`.
    group:   name of the group.
    node:    name of the node (taskId) that holds the token.
    task:    name of the task; None for the program of a group.
    term:    the fencing token, which rises with every holding.
    session: id of the node's session.
    options: options of the task, as its definition has them.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        database_url: str | None = None,
        schema: str | None = None,
    ) -> None:
        try:
            self.group, self.node = environ["COORD_GROUP"], environ["COORD_NODE"]
            self.session, self.term = environ["COORD_SESSION"], int(environ["COORD_TERM"])
            self.options: dict[str, Any] = json.loads(environ.get("COORD_OPTIONS", "{}"))
        except KeyError as error:
            raise OutsideProgramError(
                f"{error.args[0]} is", "elsewhere hold a token with coordinator.Coordinator"
            ) from None
        except ValueError as error:
            raise ConfigError(
                f"COORD_TERM or COORD_OPTIONS is not as `coord run` has set it: {error}"
            ) from None
        self.task = environ.get("COORD_TASK")
        self.name = self.group if self.task is None else token_name(self.group, self.task)
        self._database_url = database_url or environ.get("COORD_DATABASE_URL")
        self._schema = schema or environ.get("COORD_DATABASE_SCHEMA", DEFAULT_SCHEMA)
        self._reports = ProgressReports(environ)
        self._board: TrustBoard | None = None
        self._why_unknown = ""
        try:
            self._board = find_board(environ)
        except TokenLostError as error:
            self._why_unknown = str(error)

    def __repr__(self) -> str:
        if self._board is None:
            state = "deadline unknown"
        else:
            state = f"{self.seconds_left:.1f} s left" if self.is_held() else "lost"
        return f"<Held {self.name} term {self.term} of {self.node}: {state}>"

    @property
    def deadline(self) -> float:
        """Moment at which the guardian kills the program, unless it is renewed before.

        Every heartbeat of the node renews it. A program that was told to end (SIGTERM) may have
        to be gone sooner, after its stopTimeout.

        Units: seconds of `time.clock_gettime(time.CLOCK_BOOTTIME)`; `inf` for a task that goes on
        without the database (onPartition = "continue").
        Errors: TokenLostError when the deadline cannot be known.
        """
        return self._trust().trusted_until

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative when it has passed.

        Errors: TokenLostError when the deadline cannot be known.
        """
        return self._trust().remaining_s()

    def is_held(self) -> bool:
        """Return True if the deadline is known and has not passed."""
        return self._board is not None and self._board.remaining_s() > 0

    def check(self) -> None:
        """Return while the program may act on its token.

        It reads memory only: call it before every step.

        Errors: TokenLostError when the deadline has passed, or cannot be known.
        """
        self._trust().check()

    def progress(self) -> None:
        """Report progress to the node; without effect if the node does not ask for it."""
        self._reports.send()

    @overload
    def transaction(self) -> AbstractContextManager[Connection]: ...

    @overload
    def transaction(self, connection: C) -> AbstractContextManager[C]: ...

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """Open a transaction that commits only while the token is held.

        The token's row is locked FOR SHARE until the commit, so no takeover can slip in between.

        connection: an SQLAlchemy Connection or Session, or a psycopg Connection, of the database
            that has coord's tables, without an open transaction; it is committed at the end of the
            block and stays open. None: a new SQLAlchemy connection to `database_url`, or to the
            database that the node has handed over (`coord run --pass-database`).
        Errors: TokenLostError if the token is not this holding's any more: nothing was written.
        OutcomeUnknownError if the answer to the commit was lost: read again what was to be written.
        ConfigError if there is no database to write to. UsageError if a transaction is open.
        """
        holding = (self.name, self.term, self.session)
        conninfo = "" if connection is not None else self._conninfo()
        self.check()
        from coordinator.store.program.fenced_transaction import fenced_on, fenced_transaction

        if connection is None:
            return fenced_transaction(conninfo, self._schema, *holding)
        return _itself(connection, fenced_on(connection, self._schema, *holding))

    @property
    def state(self) -> TokenState:
        """Bytes that a holding saves for the next one: `state.get()`, `state.put(content)`.

        In a transaction of `transaction`: `state.get_in(connection)`, `state.put_in(connection,
        content)`.

        Errors: ConfigError if there is no database.
        """
        conninfo = self._conninfo()
        from coordinator.store.program.state import TokenState

        return TokenState(
            conninfo=conninfo,
            schema=self._schema,
            token=self.name,
            term=self.term,
            session=self.session,
        )

    def checkpoint(
        self, content: bytes | str | PathLike[str], *, keep: int = 5, rows_max: int = 8 << 20
    ) -> int:
        """Keep bytes, a file or a directory for the next holding; return its sequence.

        Arguments and errors are those of `Token.checkpoint`; ConfigError if there is no database.
        """
        keeping = self._checkpoints()
        self.check()
        return keeping.keep(content, keep=keep, rows_max=rows_max)

    def restore(self, path: str | PathLike[str]) -> bool:
        """Restore the last checkpoint to a path at which nothing is; False if there is none.

        Errors: as `Token.restore`; ConfigError if there is no database.
        """
        return self._checkpoints().restore(path)

    def _checkpoints(self) -> HoldingCheckpoints:
        conninfo = self._conninfo()
        from coordinator.app.checkpoints.holding import HoldingCheckpoints

        return HoldingCheckpoints(
            conninfo,
            self._schema,
            token=self.name,
            term=self.term,
            session=self.session,
            node=self.node,
        )

    def _conninfo(self) -> str:
        if self._database_url:
            return self._database_url
        raise ConfigError(
            "there is no database to write to: start the node with --pass-database, or name it in"
            " held(database_url=...)"
        )

    def _trust(self) -> TrustBoard:
        if self._board is None:
            raise TokenLostError(self._why_unknown)
        return self._board


@contextmanager
def _itself(given: C, block: AbstractContextManager[object]) -> Iterator[C]:
    """Enter a block, and yield what was given."""
    with block:
        yield given


def held(*, database_url: str | None = None, schema: str | None = None) -> Held:
    """Return the holding under which this process runs.

    database_url: where `transaction` writes; the database that the node has handed over if it is
    not given.
    schema: the one of coord's tables there, if it is not "coord".
    Errors: ConfigError if `coord run` has not started the program.
    """
    return Held(os.environ, database_url=database_url, schema=schema)

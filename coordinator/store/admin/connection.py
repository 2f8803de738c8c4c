"""Connection for people's commands: bounded, one transaction for each request, errors ours.

Plain psycopg, without SQLAlchemy: these commands must start fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from coordinator.store.driver import connect as driver
from coordinator.store.driver.errors import database_error, role_of
from coordinator.store.schema.aliases import remarks
from coordinator.store.schema.facts import refuse_incomplete
from coordinator.store.schema.migrate import REVISION, SCHEMA_HEAD, why_none
from coordinator.store.sql.statement import named

T = TypeVar("T")
Row = dict[str, Any]
Rows = list[Row]
Cursor = psycopg.Cursor[Row]

#: In microseconds, which no style of a session changes.
CLOCK: LiteralString = (
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::pg_catalog.int8 AS server_us"
)

_READ_NEWEST = b"READ COMMITTED, READ ONLY"
_READ_ONE_MOMENT = b"REPEATABLE READ, READ ONLY"
_WRITE = b"READ COMMITTED, READ WRITE"


class AdminConnection:
    """One connection to one schema."""

    __slots__ = ("_connection", "_timeout_s", "schema", "where")

    def __init__(self, conninfo: str, schema: str, where: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self.schema = schema
        self.where = where
        self._timeout_s = timeout_s
        try:
            self._connection = driver.open_session(
                conninfo, timeout_s=timeout_s, row_factory=dict_row
            )
        except psycopg.Error as error:
            raise database_error(error, where) from error

    @classmethod
    def to_whole_schema(cls, conninfo: str, schema: str, where: str, timeout_s: float) -> Self:
        """Connect to a schema of which no part is missing.

        Errors: DatabaseUnreachableError, DatabaseRefusedError, SchemaError.
        """
        connection = cls(conninfo, schema, where, timeout_s)
        try:
            connection.revision()
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connection; never waits."""
        self._connection.close()

    # --- requests ---------------------------------------------------------------------------------

    def read(self, query: LiteralString, **values: object) -> Rows:
        """Return the rows of one query."""
        return self.read_in(lambda cursor: self._rows(cursor, query, values))

    def read_all(self, *queries: LiteralString, **values: object) -> list[Rows]:
        """Return the rows of several queries as of one moment."""
        with self._our_errors():
            return self._transaction(
                _READ_ONE_MOMENT,
                lambda cursor: [self._rows(cursor, query, values) for query in queries],
            )

    def read_in(self, body: Callable[[Cursor], T]) -> T:
        """Run a body that only reads; each of its statements sees the newest rows."""
        with self._our_errors():
            return self._transaction(_READ_NEWEST, body)

    def write(self, body: Callable[[Cursor], T]) -> T:
        """Run `body` in a READ COMMITTED transaction; an error in it undoes everything.

        Errors: psycopg.Error, which the caller classifies.
        """
        return self._transaction(_WRITE, body)

    def listen(self, channel: str) -> None:
        """Hear of notifications: hints to look, for a pooler may keep them."""
        with self._our_errors(), self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    def wait_for_news(self, seconds: float) -> bool:
        """Wait for a notification; false when none came in this time."""
        with self._our_errors():
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

    # --- server and schema ------------------------------------------------------------------------

    def revision(self) -> str:
        """Return the revision of the schema.

        Errors: SchemaError when there is none, or when parts of the schema are missing.
        """
        with self._our_errors():
            try:
                rows = self._one_round_trip(REVISION)
            except psycopg.errors.UndefinedTable:
                rows = []
            if not rows:
                raise why_none(self._connection, self.schema, self.where)
            revision = str(rows[0][0])
            if revision == SCHEMA_HEAD:
                refuse_incomplete(self._connection, self.schema, self.where)
            return revision

    def server_time(self) -> datetime:
        """Return the server's clock, in exactly one round trip."""
        with self._our_errors():
            ((server_us,),) = self._one_round_trip(CLOCK)
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=server_us)

    @property
    def greeted_by(self) -> int:
        """Process that greeted the connection; behind a pooler another one answers."""
        return self._connection.info.backend_pid

    def version(self) -> str:
        """Return the server's version, as the server reports it."""
        return self._connection.info.parameter_status("server_version") or "unknown"

    def remarks(self) -> list[str]:
        """Return a sentence for each fact of the schema that an operator should know."""
        with self._our_errors(), driver.within(self._connection):
            return remarks(self._connection, self.schema)

    # --- inside -----------------------------------------------------------------------------------

    def _transaction(self, how: bytes, body: Callable[[Cursor], T]) -> T:
        with self._connection.cursor() as cursor:
            # Not psycopg's own transaction: that logs a failed rollback when it is interrupted.
            cursor.execute(self._begin(how))
            try:
                outcome = body(cursor)
            except BaseException:
                with suppress(psycopg.Error):
                    cursor.execute(b"ROLLBACK")
                raise
            cursor.execute(b"COMMIT")
            return outcome

    def _rows(self, cursor: Cursor, query: LiteralString, values: dict[str, object]) -> Rows:
        return cursor.execute(named(query, self.schema), values).fetchall()

    def _one_round_trip(self, query: LiteralString) -> list[tuple[Any, ...]]:
        begin = self._begin(_READ_ONE_MOMENT)
        return driver.asked(self._connection, begin, named(query, self.schema))

    def _begin(self, how: bytes) -> bytes:
        return driver.begin(self._connection, self._timeout_s, how)

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise database_error(error, self.where, role_of(self._connection)) from error

"""A connection on which people read and write: bounded, in one transaction each, errors ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString, TypeVar

import psycopg

from coordinator.store.admin.queries import Row, open_for_people
from coordinator.store.driver import connect as driver
from coordinator.store.driver.errors import database_error, role_of
from coordinator.store.sql.statement import named

T = TypeVar("T")
Rows = list[Row]
Cursor = psycopg.Cursor[Row]


class Desk:
    """One connection to one schema."""

    __slots__ = ("_connection", "_timeout_s", "schema", "where")

    def __init__(self, conninfo: str, schema: str, where: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self.schema = schema
        self.where = where
        self._timeout_s = timeout_s
        self._connection = open_for_people(conninfo, where, timeout_s)

    def read(self, question: LiteralString, **values: object) -> Rows:
        """Return the rows of one question."""
        return self.look(lambda cursor: self._asked(cursor, question, values))

    def look(self, body: Callable[[Cursor], T]) -> T:
        """Run a body that only reads; each of its statements sees the newest rows."""
        try:
            return self._transaction(b"READ COMMITTED, READ ONLY", body)
        except psycopg.Error as error:
            raise database_error(error, self.where, role_of(self._connection)) from error

    def write(self, body: Callable[[Cursor], T]) -> T:
        """Run `body` in a READ COMMITTED transaction; whatever it raises undoes everything.

        Errors: psycopg.Error, which the caller judges.
        """
        return self._transaction(b"READ COMMITTED, READ WRITE", body)

    def close(self) -> None:
        """Close the connection; never waits."""
        self._connection.close()

    def _transaction(self, how: bytes, body: Callable[[Cursor], T]) -> T:
        with self._connection.cursor() as cursor:
            # Not psycopg's own transaction: that logs a failed rollback when it is interrupted.
            cursor.execute(driver.begin(self._connection, self._timeout_s, how))
            try:
                outcome = body(cursor)
            except BaseException:
                with suppress(psycopg.Error):
                    cursor.execute(b"ROLLBACK")
                raise
            cursor.execute(b"COMMIT")
            return outcome

    def _asked(self, cursor: Cursor, question: LiteralString, values: dict[str, object]) -> Rows:
        return cursor.execute(named(question, self.schema), values).fetchall()

"""A connection on which people read and write: bounded, in one transaction each, errors ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString, TypeVar

import psycopg

from coordinator.store.faults import database_error
from coordinator.store.look import Row, open_for_people
from coordinator.store.statement import named

T = TypeVar("T")
Rows = list[Row]
Cursor = psycopg.Cursor[Row]

#: A change waits for a lock no longer than this share of its time, so that the error says "lock".
LOCK_SHARE = 0.5

LIMITS: LiteralString = """
SELECT set_config('lock_timeout', %(lock_ms)s, true),
       set_config('statement_timeout', %(statement_ms)s, true),
       set_config('synchronous_commit', 'on', true)
"""


class Desk:
    """One connection to one schema."""

    __slots__ = ("_connection", "_limits", "schema", "where")

    def __init__(self, conninfo: str, schema: str, where: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self.schema = schema
        self.where = where
        self._limits = {
            "statement_ms": str(max(1, int(timeout_s * 1000))),
            "lock_ms": str(max(1, int(timeout_s * 1000 * LOCK_SHARE))),
        }
        self._connection = open_for_people(conninfo, where, timeout_s)

    def read(self, question: LiteralString, **values: object) -> Rows:
        """Return the rows of one question."""
        return self.look(lambda cursor: self._asked(cursor, question, values))

    def look(self, body: Callable[[Cursor], T]) -> T:
        """Run a body that only reads, each of its statements by itself."""
        try:
            with self._connection.cursor() as cursor:
                return body(cursor)
        except psycopg.Error as error:
            raise database_error(error, self.where) from error

    def write(self, body: Callable[[Cursor], T]) -> T:
        """Run `body` in a READ COMMITTED transaction; whatever it raises undoes everything.

        Errors: psycopg.Error, which the caller judges.
        """
        with self._connection.cursor() as cursor:
            # Not psycopg's own transaction: that logs a failed rollback when it is interrupted.
            cursor.execute(b"BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")
            try:
                cursor.execute(named(LIMITS, self.schema), self._limits)
                outcome = body(cursor)
            except BaseException:
                with suppress(psycopg.Error):
                    cursor.execute(b"ROLLBACK")
                raise
            cursor.execute(b"COMMIT")
            return outcome

    def close(self) -> None:
        """Close the connection; never waits."""
        self._connection.close()

    def _asked(self, cursor: Cursor, question: LiteralString, values: dict[str, object]) -> Rows:
        return cursor.execute(named(question, self.schema), values).fetchall()

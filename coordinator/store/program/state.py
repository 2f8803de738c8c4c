"""State of a token: bytes that its holder saves, under the fence, for the next one (rules Y).

TokenState      what the holder sees: `get` and `put`, each in a transaction of its own
save_state      the same inside the caller's own transaction, with the work that it tells of
read_state
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, LiteralString

from coordinator.protocol.rules.saved_state import checked_size
from coordinator.store.program.fenced_transaction import fenced_transaction
from coordinator.store.sql.statement import named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

#: Qualified in full: the search_path is the user's.
SAVE: LiteralString = (
    "SELECT {schema}.coord_save_state(CAST(%s AS pg_catalog.text), CAST(%s AS pg_catalog.int8),"
    " CAST(%s AS pg_catalog.uuid), CAST(%s AS pg_catalog.bytea))"
)
READ: LiteralString = "SELECT {schema}.coord_read_state(CAST(%s AS pg_catalog.text))"


def save_state(
    connection: Connection, schema: str, *, token: str, term: int, session: str, content: bytes
) -> int:
    """Save a state in the caller's transaction; return its sequence.

    Errors: StateTooLargeError; DBAPIError with SQLSTATE CF001 when (term, session) does not hold
    the token.
    """
    call = named(SAVE, schema).decode()
    values = (token, term, session, checked_size(content))
    return int(connection.exec_driver_sql(call, values).scalar_one())


def read_state(connection: Connection, schema: str, *, token: str) -> bytes | None:
    """Return the state that was saved last; None when there is none."""
    call = named(READ, schema).decode()
    content = connection.exec_driver_sql(call, (token,)).scalar_one_or_none()
    return None if content is None else bytes(content)


class TokenState:
    """State of a token, for the holding that its term and session name; a port (StatePort)."""

    def __init__(self, *, conninfo: str, schema: str, token: str, term: int, session: str) -> None:
        self._conninfo, self._schema = conninfo, schema
        self._token, self._term, self._session = token, term, session

    def get(self) -> bytes | None:
        """Return the state that was saved last, by this holding or an earlier one; None at first.

        Errors: TokenLostError when the token is not this holding's any more.
        """
        with self._transaction() as connection:
            return self.get_in(connection)

    def put(self, content: bytes) -> int:
        """Save a state for the next holder; return its sequence, which rises by one each time.

        Errors: TokenLostError when the token is not this holding's any more: nothing was saved.
        StateTooLargeError. OutcomeUnknownError when the answer to the commit was lost.
        """
        checked_size(content)
        with self._transaction() as connection:
            return self.put_in(connection, content)

    def get_in(self, connection: Connection) -> bytes | None:
        """Return the state, as a transaction of the token sees it."""
        return read_state(connection, self._schema, token=self._token)

    def put_in(self, connection: Connection, content: bytes) -> int:
        """Save a state in a transaction of the token, together with the work that it tells of."""
        return save_state(
            connection,
            self._schema,
            token=self._token,
            term=self._term,
            session=self._session,
            content=content,
        )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with fenced_transaction(
            self._conninfo, self._schema, self._token, self._term, self._session
        ) as connection:
            yield connection

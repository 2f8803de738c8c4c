"""States of tokens for commands: read by anybody who may, saved under the term of a program."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString, Self

import psycopg

from coordinator.errors import TokenLostError
from coordinator.protocol.rules.saved_state import checked_size
from coordinator.store.admin.connection import AdminConnection, Row, Rows
from coordinator.store.driver.errors import database_error
from coordinator.store.sql.fence import NOT_CURRENT
from coordinator.store.sql.statement import named

KEPT: LiteralString = """
SELECT
    kept.sequence,
    kept.term,
    kept.session::text AS session,
    kept.node,
    kept.saved_at,
    greatest(0, date_part('epoch', clock_timestamp() - kept.saved_at)) AS saved_age_s,
    octet_length(kept.content) AS size
FROM {schema}.token_state AS kept
WHERE kept.group_id = %(token)s
ORDER BY kept.sequence DESC
"""

CONTENT: LiteralString = """
SELECT kept.content
FROM {schema}.token_state AS kept
WHERE kept.group_id = %(token)s
    AND (CAST(%(sequence)s AS bigint) IS NULL OR kept.sequence = %(sequence)s)
ORDER BY kept.sequence DESC
LIMIT 1
"""

KNOWN: LiteralString = """
SELECT EXISTS (
    SELECT FROM {schema}.token_holder AS token WHERE token.group_id = %(token)s
) AS known
"""

SAVE: LiteralString = """
SELECT {schema}.coord_save_state(
    %(token)s::text, %(term)s::bigint, %(session)s::uuid, %(content)s::bytea
) AS sequence
"""


class StateStore:
    """One connection for the states of tokens."""

    __slots__ = ("_database",)

    def __init__(self, conninfo: str, schema: str, where: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._database = AdminConnection(conninfo, schema, where, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; never waits."""
        self._database.close()

    def server_time(self) -> datetime:
        """Return the server's clock, in exactly one round trip."""
        return self._database.server_time()

    def kept(self, token: str) -> tuple[Rows, bool]:
        """Return what is kept of a token's states, the newest first; and if the token is known."""
        rows, known = self._database.read_all(KEPT, KNOWN, token=token)
        return rows, bool(known[0]["known"])

    def content(self, token: str, sequence: int | None) -> bytes | None:
        """Return one state, the newest when no sequence is given; None when it is not there."""
        rows: list[Row] = self._database.read(CONTENT, token=token, sequence=sequence)
        return bytes(rows[0]["content"]) if rows else None

    def save(self, token: str, term: int, session: str, content: bytes) -> int:
        """Save a state under a holding; return its sequence.

        Errors: TokenLostError when the holding is over: nothing was saved. StateTooLargeError.
        """
        values: dict[str, Any] = {"token": token, "term": term, "session": session}
        values["content"] = checked_size(content)
        statement = named(SAVE, self._database.schema)
        try:
            row = self._database.write(lambda at: at.execute(statement, values).fetchone())
        except psycopg.Error as error:
            if error.sqlstate == NOT_CURRENT:
                lost = f"{token}: the token of term {term} is lost: nothing was saved"
                raise TokenLostError(lost) from error
            raise database_error(error, self._database.where) from error
        assert row is not None, "a function of one value returns a row"
        return int(row["sequence"])

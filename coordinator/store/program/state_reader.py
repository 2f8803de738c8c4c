"""States that a node reads for its programs before it starts them (rule Y4).

Over a connection of its own, so that no heartbeat waits for a state of 1 MiB on a slow network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import LiteralString

import psycopg

from coordinator.protocol.rules.saved_state import StateSeen, StateWanted
from coordinator.store.driver import connect as driver
from coordinator.store.driver.errors import database_error
from coordinator.store.program.schedule import TIMEOUT_S, open_connection
from coordinator.store.sql.statement import named

#: In one statement, and so in one snapshot: who holds each token, and what was saved last.
READ: LiteralString = """
SELECT token.group_id, token.term, token.session::text, kept.content
FROM {schema}.token_holder AS token
LEFT JOIN LATERAL (
    SELECT saved.content
    FROM {schema}.token_state AS saved
    WHERE saved.group_id = token.group_id
    ORDER BY saved.sequence DESC
    LIMIT 1
) AS kept ON true
WHERE token.group_id = ANY (%(tokens)s)
"""
#: Tokens of one reading: with states of 1 MiB each it stays below what a node can spare.
TOKENS_MAX = 16


class PostgresStateReader:
    """A StateReader; each reading opens and closes its connection."""

    def __init__(self, conninfo: str, schema: str, where: str, connect_timeout_s: float) -> None:
        self._conninfo, self._schema, self._where = conninfo, schema, where
        self._connect_timeout_s = connect_timeout_s

    def read(self, wanted: Sequence[StateWanted]) -> Mapping[str, StateSeen]:
        """Return what the primary shows of the tokens.

        Errors: DatabaseUnreachableError, DatabaseRefusedError, SchemaError.
        """
        try:
            connection = open_connection(self._conninfo, self._connect_timeout_s)
            try:
                seen: dict[str, StateSeen] = {}
                tokens = [each.token for each in wanted]
                for at in range(0, len(tokens), TOKENS_MAX):
                    seen |= self._some(connection, tokens[at : at + TOKENS_MAX])
                return seen
            finally:
                connection.close()
        except psycopg.Error as error:
            raise database_error(error, self._where) from error

    def _some(self, connection: driver.Connection, tokens: list[str]) -> dict[str, StateSeen]:
        with driver.within(connection, TIMEOUT_S):
            rows = connection.execute(named(READ, self._schema), {"tokens": tokens}).fetchall()
        return {
            token: StateSeen(
                term=term, session=session, content=None if content is None else bytes(content)
            )
            for token, term, session, content in rows
        }

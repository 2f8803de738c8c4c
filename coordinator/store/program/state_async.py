"""State of a token, in a transaction on an asynchronous connection of its user (rules Y)."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from coordinator.protocol.rules.saved_state import checked_size
from coordinator.store.program.fenced_async import AsyncGiven
from coordinator.store.program.state import READ, SAVE
from coordinator.store.sql.statement import named


async def save_state_async(
    connection: AsyncGiven, schema: str, *, token: str, term: int, session: str, content: bytes
) -> int:
    """Save a state in the caller's transaction; return its sequence.

    Errors: StateTooLargeError; the driver's, with SQLSTATE CF001, when (term, session) does not
    hold the token.
    """
    values = (token, term, session, checked_size(content))
    return int(await _value(connection, SAVE, schema, values))


async def read_state_async(connection: AsyncGiven, schema: str, *, token: str) -> bytes | None:
    """Return the state that was saved last; None when there is none."""
    content = await _value(connection, READ, schema, (token,))
    return None if content is None else bytes(content)


async def _value(
    connection: AsyncGiven, call: LiteralString, schema: str, values: tuple[object, ...]
) -> Any:
    statement = named(call, schema)
    if isinstance(connection, psycopg.AsyncConnection):
        row = await (await connection.execute(statement, values)).fetchone()
        return None if row is None else next(iter(row.values() if isinstance(row, dict) else row))
    inner: Any = connection
    if not hasattr(inner, "exec_driver_sql"):  # an AsyncSession
        inner = await inner.connection()
    return (await inner.exec_driver_sql(statement.decode(), values)).scalar_one_or_none()

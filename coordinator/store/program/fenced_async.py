"""Fenced transaction on an asynchronous connection that its user brings.

It ends as that of `fenced_transaction` does: committed, surely not written, or unknown. A task that
is cancelled while its commit is on the way does not learn the outcome.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import DBAPIError

from coordinator.errors import UsageError
from coordinator.store.driver import connect as driver
from coordinator.store.program.fenced_transaction import OPEN_ALREADY, doubts_of, judge_commit, told
from coordinator.store.sql.fence import FENCE
from coordinator.store.sql.statement import named

if TYPE_CHECKING:
    # Not imported: without greenlet, which only its users need, that fails.
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from typing_extensions import TypeIs

#: A connection that may have a fenced transaction.
AsyncGiven: TypeAlias = "AsyncConnection | AsyncSession | psycopg.AsyncConnection[Any]"
AsyncCommit = Callable[[], Awaitable[None]]


@asynccontextmanager
async def fenced_async(
    given: AsyncGiven, schema: str, group: str, term: int, session: str
) -> AsyncIterator[None]:
    """Make the next transaction of a connection a fenced one, and commit it at the end.

    Errors: as `fenced_on`; UsageError when SQLAlchemy uses another driver than psycopg, too.
    """
    holding = {"group": group, "term": term, "session": session}
    with told(group, term, ours=False):
        async with _begun(given) as (raw, commit):
            with doubts_of(raw) as doubts:
                with told(group, term):
                    await raw.execute(driver.USER_BEGIN + ";" + driver.USER_SETTINGS)
                    async with psycopg.AsyncClientCursor(raw) as cursor:
                        await cursor.execute(named(FENCE, schema), holding)
                yield
                error: DBAPIError | psycopg.Error | None = None
                try:
                    await commit()
                except (DBAPIError, psycopg.Error) as failed:
                    error = failed
                judge_commit(error, doubts, f"{group} (term {term})")


@asynccontextmanager
async def _begun(
    given: AsyncGiven,
) -> AsyncIterator[tuple[psycopg.AsyncConnection[Any], AsyncCommit]]:
    """Begin a transaction; yield its connection and its commit. Roll back if that is not called."""
    if isinstance(given, psycopg.AsyncConnection):
        if given.info.transaction_status != TransactionStatus.IDLE:
            raise UsageError(OPEN_ALREADY)
        await given.execute("BEGIN" if given.autocommit else "SELECT")
        try:
            yield given, given.commit
        finally:
            if not given.closed:
                await given.rollback()
        return
    if given.in_transaction():
        raise UsageError(OPEN_ALREADY)
    async with given.begin() as transaction:
        connection = await given.connection() if _is_session(given) else given
        raw = (await connection.get_raw_connection()).driver_connection
        if not isinstance(raw, psycopg.AsyncConnection):
            raise UsageError(
                f"transaction: the engine uses {type(raw).__module__.partition('.')[0]}; a fenced"
                " transaction needs an engine of postgresql+psycopg://"
            )

        async def commit() -> None:
            if transaction.is_active:
                await transaction.commit()

        yield raw, commit


def _is_session(given: AsyncConnection | AsyncSession) -> TypeIs[AsyncSession]:
    """Tell a session from a connection, without a need to import either."""
    return not hasattr(given, "get_raw_connection")

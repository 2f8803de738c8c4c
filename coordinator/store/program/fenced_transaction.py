"""Fenced transaction of a user: it commits only while the token is the caller's.

It ends in one of three ways. Committed. Surely not written: TokenLostError, or the error of the
user's own statement. Unknown: OutcomeUnknownError, when anything broke while the commit was on its
way; its rows may be there, so read them before the work is done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from coordinator.errors import OutcomeUnknownError, TokenLostError
from coordinator.store.driver import connect as driver
from coordinator.store.driver.engine import engine_of_users
from coordinator.store.driver.errors import database_error, one_line
from coordinator.store.sql.fence import FENCE, NOT_CURRENT
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import DOUBTFUL_STATES, surely_failed


@lru_cache(maxsize=8)
def _engine(conninfo: str) -> Engine:
    return engine_of_users(conninfo)


@contextmanager
def fenced_transaction(
    conninfo: str, schema: str, group: str, term: int, session: str
) -> Iterator[Connection]:
    """Open a transaction whose commit is refused when the token is not (term, session)'s.

    Errors: TokenLostError when it is not, or when the connection broke before the commit was sent:
    nothing was written. OutcomeUnknownError when it broke later: read again what was written.
    """
    holding = {"group": group, "term": term, "session": session}
    lost = f"the token of {group} (term {term}) is lost: nothing was written"
    try:
        with _engine(conninfo).connect() as connection:
            doubts = _doubts_of(connection)
            with connection.begin() as transaction:
                _raw(connection).execute(driver.USER_BEGIN + ";" + driver.USER_SETTINGS)
                with psycopg.ClientCursor(_raw(connection)) as cursor:
                    cursor.execute(named(FENCE, schema), holding)
                yield connection
                if transaction.is_active:
                    _commit(transaction, doubts, f"{group} (term {term})")
    except (DBAPIError, psycopg.Error) as error:
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        if isinstance(error, DBAPIError):
            broken = error.connection_invalidated
        else:
            broken = not surely_failed(error)
        if state == NOT_CURRENT or broken:
            raise TokenLostError(lost) from error
        if state is None or isinstance(error, psycopg.Error):
            raise database_error(error) from error
        raise  # an error of the caller's own statement, as SQLAlchemy tells it


def _commit(transaction: Any, doubts: list[str], whose: str) -> None:
    """Commit; only what the server says was rolled back is believed to be no commit."""
    try:
        transaction.commit()
    except DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.Error) and surely_failed(cause):
            raise
        raise OutcomeUnknownError(
            f"the answer to a commit under the token of {whose} was lost"
            f" ({one_line(str(cause))}): read again what it was to write"
        ) from error
    if doubts:
        raise OutcomeUnknownError(
            f"a commit under the token of {whose} is doubtful ({doubts[0]}):"
            " it may be lost in a failover; read again what it wrote"
        )


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    raw: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
    return raw


def _doubts_of(connection: Connection) -> list[str]:
    """Return a list to which the server's warnings of an unsafe commit are added."""
    doubts: list[str] = []

    def noticed(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING" and diagnostic.sqlstate in DOUBTFUL_STATES:
            doubts.append(diagnostic.message_primary or "the server warned of an unsafe commit")

    _raw(connection).add_notice_handler(noticed)
    return doubts

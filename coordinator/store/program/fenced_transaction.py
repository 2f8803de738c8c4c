"""Fenced transaction of a user: it commits only while the token is the caller's.

It ends in one of three ways. Committed. Surely not written: TokenLostError, or the error of the
user's own statement. Unknown: OutcomeUnknownError, when anything broke while the commit was on its
way; its rows may be there, so read them before the work is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from coordinator.errors import OutcomeUnknownError, TokenLostError, UsageError
from coordinator.store.driver import connect as driver
from coordinator.store.driver.engine import engine_of_users
from coordinator.store.driver.errors import database_error, one_line
from coordinator.store.sql.fence import FENCE, NOT_CURRENT
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import DOUBTFUL_STATES, surely_failed

#: A connection that may have a fenced transaction.
Given = Connection | Session | psycopg.Connection[Any]
BaseConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
Commit = Callable[[], object]

OPEN_ALREADY = (
    "transaction: the connection has an open transaction, whose earlier reads the fence would not"
    " cover: commit it, or roll it back, first"
)


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
    with told(group, term):
        connection = _engine(conninfo).connect()
    with connection, fenced_on(connection, schema, group, term, session):
        yield connection


@contextmanager
def fenced_on(
    given: Given, schema: str, group: str, term: int, session: str
) -> Iterator[psycopg.Connection[Any]]:
    """Make the next transaction of a connection a fenced one, and commit it at the end.

    Yields the connection below it.
    Errors: as `fenced_transaction`; UsageError when a transaction is open already.
    """
    holding = {"group": group, "term": term, "session": session}
    with told(group, term, ours=False), _begun(given) as (raw, commit), doubts_of(raw) as doubts:
        with told(group, term):
            raw.execute(driver.USER_BEGIN + ";" + driver.USER_SETTINGS)
            with psycopg.ClientCursor(raw) as cursor:
                cursor.execute(named(FENCE, schema), holding)
        yield raw
        _commit(commit, doubts, f"{group} (term {term})")


@contextmanager
def _begun(given: Given) -> Iterator[tuple[psycopg.Connection[Any], Commit]]:
    """Begin a transaction; yield its connection and its commit. Roll back if that is not called."""
    if isinstance(given, psycopg.Connection):
        if given.info.transaction_status != TransactionStatus.IDLE:
            raise UsageError(OPEN_ALREADY)
        begun = "BEGIN" if given.autocommit else "SELECT"
        given.execute(begun)
        try:
            yield given, given.commit
        finally:
            if not given.closed:
                given.rollback()
        return
    if given.in_transaction():
        raise UsageError(OPEN_ALREADY)
    with given.begin() as transaction:
        connection = given if isinstance(given, Connection) else given.connection()
        raw: Any = connection.connection.dbapi_connection
        yield raw, lambda: transaction.commit() if transaction.is_active else None


@contextmanager
def told(group: str, term: int, *, ours: bool = True) -> Iterator[None]:
    """Tell what an error of the database means for the token.

    ours: the statements are coord's, so an error of psycopg is not the caller's to judge.
    """
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        if isinstance(error, DBAPIError):
            broken = error.connection_invalidated
        else:
            broken = not surely_failed(error)
        if state == NOT_CURRENT or broken:
            raise TokenLostError(
                f"the token of {group} (term {term}) is lost: nothing was written"
            ) from error
        if state is None or (ours and isinstance(error, psycopg.Error)):
            raise database_error(error) from error
        raise  # an error of the caller's own statement, as its library tells it


def _commit(commit: Commit, doubts: list[str], whose: str) -> None:
    error: DBAPIError | psycopg.Error | None = None
    try:
        commit()
    except (DBAPIError, psycopg.Error) as failed:
        error = failed
    judge_commit(error, doubts, whose)


def judge_commit(error: DBAPIError | psycopg.Error | None, doubts: list[str], whose: str) -> None:
    """Judge a commit; only what the server says was rolled back is believed to be no commit."""
    if error is not None:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, psycopg.Error) and surely_failed(cause):
            raise error
        raise OutcomeUnknownError(
            f"the answer to a commit under the token of {whose} was lost"
            f" ({one_line(str(cause))}): read again what it was to write"
        ) from error
    if doubts:
        raise OutcomeUnknownError(
            f"a commit under the token of {whose} is doubtful ({doubts[0]}):"
            " it may be lost in a failover; read again what it wrote"
        )


@contextmanager
def doubts_of(raw: BaseConnection) -> Iterator[list[str]]:
    """Yield a list to which the server's warnings of an unsafe commit are added."""
    doubts: list[str] = []

    def noticed(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING" and diagnostic.sqlstate in DOUBTFUL_STATES:
            doubts.append(diagnostic.message_primary or "the server warned of an unsafe commit")

    raw.add_notice_handler(noticed)
    try:
        yield doubts
    finally:
        raw.remove_notice_handler(noticed)

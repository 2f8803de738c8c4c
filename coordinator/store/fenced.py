"""A user's transaction under the fence: it commits only while the token is the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from sqlalchemy import Connection, Engine, Uuid, cast, func, select
from sqlalchemy.exc import DBAPIError

from coordinator.errors import TokenLostError
from coordinator.store.engine import engine
from coordinator.store.faults import database_error

#: What coord_fence raises when (term, session) is not the current holding.
NOT_CURRENT = "CF001"


@lru_cache(maxsize=8)
def _engine(conninfo: str) -> Engine:
    return engine(conninfo)


@contextmanager
def fenced_transaction(
    conninfo: str, schema: str, group: str, term: int, session: str
) -> Iterator[Connection]:
    """Open a transaction whose commit is refused when the token is not (term, session)'s.

    Errors: TokenLostError when it is not, or when a takeover ended the transaction.
    """
    fence = select(getattr(func, schema).coord_fence(group, term, cast(session, Uuid)))
    try:
        with _engine(conninfo).begin() as connection:
            connection.execute(fence)
            yield connection
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state == NOT_CURRENT or error.connection_invalidated:
            raise TokenLostError(
                f"the token of {group} (term {term}) is lost: nothing was written"
            ) from error
        if state is None:
            raise database_error(error) from error
        raise  # an error of the caller's own statement, as SQLAlchemy tells it

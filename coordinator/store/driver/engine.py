"""SQLAlchemy's engines: for migrations, and for the transactions of users.

SQLAlchemy is imported by these functions alone, so that a command of one query does without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from coordinator.store.driver import connect as driver

if TYPE_CHECKING:
    import sqlalchemy as sa


def engine(conninfo: str) -> sa.Engine:
    """Return an engine whose sessions are set up as ours, and follow libpq's rules for `conninfo`.

    Each use connects anew: its users are rare, and a pooled connection would outlive a failover.
    Combine with `execution_options(schema_translate_map=in_schema(schema))`.
    """
    return _engine(lambda: driver.open_session(conninfo))


def engine_of_users(conninfo: str) -> sa.Engine:
    """Return an engine whose sessions are as the server makes them: see driver.USER_SETTINGS."""
    return _engine(lambda: driver.connect(conninfo, ours=False))


def _engine(opened: Callable[[], driver.Connection]) -> sa.Engine:
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    def made() -> driver.Connection:
        connection = opened()
        connection.autocommit = False
        return connection

    return sa.create_engine("postgresql+psycopg://", creator=made, poolclass=NullPool)

"""Connections for what is not in a hurry: migrations, reports, schedules.

SQLAlchemy is imported by `engine` alone, so that a command of one query does without it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    import sqlalchemy as sa

#: Seconds for one connection attempt, unless the conninfo names its own.
CONNECT_TIMEOUT_S = 5


def engine(conninfo: str) -> sa.Engine:
    """Return an engine whose connections follow libpq's own rules for `conninfo` exactly.

    Each use connects anew: its users are rare, and a pooled connection would outlive a failover.
    Combine with `execution_options(schema_translate_map=in_schema(schema))`.
    """
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    return sa.create_engine(
        "postgresql+psycopg://", creator=lambda: connect(conninfo), poolclass=NullPool
    )


def connect(conninfo: str, *, autocommit: bool = False) -> psycopg.Connection[tuple[object, ...]]:
    """Connect with plain psycopg, without prepared statements (PgBouncer keeps none)."""
    said = "connect_timeout" in conninfo_to_dict(conninfo) or "PGCONNECT_TIMEOUT" in os.environ
    if not said:
        conninfo = make_conninfo(conninfo, connect_timeout=CONNECT_TIMEOUT_S)
    conninfo = make_conninfo(conninfo, fallback_application_name="coord")
    return psycopg.connect(conninfo, autocommit=autocommit, prepare_threshold=None)

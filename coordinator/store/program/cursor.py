"""Cursor of a task: its state as JSON, saved under the fence of its token (H12)."""

from __future__ import annotations

import json
from typing import Any, LiteralString

from sqlalchemy import Connection

from coordinator.store.sql.statement import named

#: Qualified in full: the search_path is the user's.
_SAVE: LiteralString = (
    "SELECT {schema}.coord_save_cursor(CAST(%s AS pg_catalog.text), CAST(%s AS pg_catalog.text),"
    " CAST(%s AS pg_catalog.int8), CAST(%s AS pg_catalog.uuid), CAST(%s AS pg_catalog.jsonb))"
)
_READ: LiteralString = (
    "SELECT {schema}.coord_read_cursor(CAST(%s AS pg_catalog.text), CAST(%s AS pg_catalog.text))"
)


def save_cursor(
    connection: Connection,
    schema: str,
    *,
    group: str,
    task: str,
    term: int,
    session: str,
    cursor: object,
) -> None:
    """Save the cursor in the caller's transaction; refused when (term, session) is not current.

    Errors: DBAPIError with SQLSTATE CF001 when the task's token has moved on.
    """
    call = named(_SAVE, schema).decode()
    connection.exec_driver_sql(call, (group, task, term, session, json.dumps(cursor)))


def read_cursor(connection: Connection, schema: str, *, group: str, task: str) -> Any:
    """Return the cursor as it was saved last; None when there is none."""
    call = named(_READ, schema).decode()
    return connection.exec_driver_sql(call, (group, task)).scalar_one_or_none()

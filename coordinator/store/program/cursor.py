"""A task's cursor: how far its work has got, saved under the fence of its token (H12)."""

from __future__ import annotations

import json
from typing import Any

from psycopg import sql
from sqlalchemy import Connection

#: Qualified in full: the search_path is the user's.
_SAVE = sql.SQL(
    "SELECT {home}.coord_save_cursor(CAST(%s AS pg_catalog.text), CAST(%s AS pg_catalog.text),"
    " CAST(%s AS pg_catalog.int8), CAST(%s AS pg_catalog.uuid), CAST(%s AS pg_catalog.jsonb))"
)
_READ = sql.SQL(
    "SELECT {home}.coord_read_cursor(CAST(%s AS pg_catalog.text), CAST(%s AS pg_catalog.text))"
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
    call = _SAVE.format(home=_home(schema)).as_string(None)
    connection.exec_driver_sql(call, (group, task, term, session, json.dumps(cursor)))


def read_cursor(connection: Connection, schema: str, *, group: str, task: str) -> Any:
    """Return the cursor as it was saved last; None when there is none."""
    call = _READ.format(home=_home(schema)).as_string(None)
    return connection.exec_driver_sql(call, (group, task)).scalar_one_or_none()


def _home(schema: str) -> sql.SQL:
    """Return the quoted schema, as a statement with parameters has it."""
    return sql.SQL(sql.Identifier(schema).as_string(None).replace("%", "%%"))

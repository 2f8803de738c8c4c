"""A task's cursor: how far its work has got, saved under the fence of its token (H12)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Uuid, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB


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
    save = getattr(func, schema).coord_save_cursor
    value = literal(cursor, JSONB)
    connection.execute(select(save(group, task, term, cast(session, Uuid), value)))


def read_cursor(connection: Connection, schema: str, *, group: str, task: str) -> Any:
    """Return the cursor as it was saved last; None when there is none."""
    read = getattr(func, schema).coord_read_cursor
    return connection.execute(select(read(group, task))).scalar_one_or_none()

"""Use the embedded server for a demonstration, and leave it as it was."""

from __future__ import annotations

import psycopg
from psycopg import sql

from coordinator.store.driver import connect as driver
from coordinator.store.driver.errors import database_error, label

#: Every table that names a group. A real group's rows are never deleted, because its terms must
#: not start again; a demonstration's group has a name that nobody uses again.
TABLES = (
    *("token_history", "event", "schedule", "token_holder", "health_check", "group_record"),
    *("task", "task_node", "token_state", "observer_decision"),
)
FORGET = sql.SQL("DELETE FROM {table} WHERE group_id = %(group_id)s")

OTHERS = sql.SQL(
    """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
)


def forget_group(conninfo: str, schema: str, group: str) -> None:
    """Delete all rows of a group that has no nodes. Errors: CoordError."""
    try:
        with driver.open_session(conninfo) as connection, driver.within(connection):
            for table in TABLES:
                named = sql.Identifier(schema, table)
                connection.execute(FORGET.format(table=named), {"group_id": group})
    except psycopg.Error as error:
        raise database_error(error, label(conninfo)) from error


def count_other_clients(conninfo: str) -> int:
    """Return how many other clients the server has. Errors: CoordError."""
    try:
        with driver.open_session(conninfo) as connection, driver.within(connection):
            row = connection.execute(OTHERS).fetchone()
    except psycopg.Error as error:
        raise database_error(error, label(conninfo)) from error
    return int(row[0]) if row else 0

"""Statements that delete what is too old, and groups of which no node lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg

from coordinator.errors import DatabaseRefusedError
from coordinator.store.admin.connection import AdminConnection, Row
from coordinator.store.driver.errors import database_error

#: Rows of each kind that one transaction deletes: some ms, and no lock that a heartbeat waits for.
STEP_ROWS = 500

PRUNE: LiteralString = "SELECT {schema}.coord_prune(%(group)s, %(count)s) AS gone"
PRUNE_BEFORE: LiteralString = """
SELECT {schema}.coord_prune_before(
    %(group)s, %(count)s, make_interval(secs => %(event_s)s), %(event_rows)s,
    make_interval(secs => %(term_s)s), %(term_rows)s
) AS gone
"""
DELETE_GROUP: LiteralString = "SELECT {schema}.coord_delete_group(%(group)s) AS refusal"

#: Also groups of which only tokens or events are left.
GROUPS: LiteralString = """
SELECT DISTINCT split_part(named.group_id, '/', 1) AS group_id
FROM (
    SELECT record.group_id FROM {schema}.group_record AS record
    UNION
    SELECT told.group_id FROM {schema}.event AS told
) AS named
ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Ages and numbers of rows that are kept; the defaults are those of every node.

    event_s:  of events, decisions, ended planned changes and deleted tasks.
    term_s:   of ended holdings; the last hundred of each token stay in any case.
    """

    event_s: float = 30 * 86400.0
    event_rows: int = 100_000
    term_s: float = 400 * 86400.0
    term_rows: int = 10_000


def prune_step(database: AdminConnection, group: str, limits: Limits | None = None) -> int:
    """Delete some of the old rows of a group, in one transaction; return their number.

    limits: None: the defaults, which any node of the group may ask for.
    Errors: DatabaseRefusedError, DatabaseUnreachableError.
    """
    if limits is None:
        return int(_one(database, PRUNE, group=group, count=STEP_ROWS)["gone"])
    row = _one(
        database,
        PRUNE_BEFORE,
        group=group,
        count=STEP_ROWS,
        event_s=limits.event_s,
        event_rows=limits.event_rows,
        term_s=limits.term_s,
        term_rows=limits.term_rows,
    )
    return int(row["gone"])


def groups(database: AdminConnection) -> list[str]:
    """Return the groups that have rows which grow old."""
    return [row["group_id"] for row in database.read(GROUPS)]


def delete_group(database: AdminConnection, group: str) -> str | None:
    """Delete a group, all at once; return why not, or None.

    Errors: DatabaseRefusedError, DatabaseUnreachableError.
    """
    refusal = _one(database, DELETE_GROUP, group=group)["refusal"]
    return None if refusal is None else str(refusal)


def _one(database: AdminConnection, statement: LiteralString, **values: object) -> Row:
    from coordinator.store.sql.statement import named

    def body(cursor: psycopg.Cursor[Row]) -> Row:
        row = cursor.execute(named(statement, database.schema), values).fetchone()
        assert row is not None, "a function has one row"
        return row

    try:
        return database.write(body)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseRefusedError(
            f"{database.where}: this login may not clean up: a system_administrator's login, or"
            " the owner of the tables, does it (see `coord db roles`)"
        ) from error
    except psycopg.Error as error:
        raise database_error(error, database.where) from error

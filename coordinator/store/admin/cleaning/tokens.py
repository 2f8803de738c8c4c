"""Statements about tokens and their holders, and the end of a holder that is dead."""

from __future__ import annotations

from typing import LiteralString

import psycopg

from coordinator.errors import DatabaseRefusedError
from coordinator.store.admin.connection import AdminConnection, Row, Rows
from coordinator.store.driver.errors import database_error
from coordinator.store.sql.statement import named

#: One row for each token, held or not. A node of a group may hold tokens below it.
TOKENS: LiteralString = """
SELECT
    token.group_id AS token,
    split_part(token.group_id, '/', 1) AS group_id,
    CASE WHEN token.session IS NOT NULL THEN token.task_id END AS node,
    token.task_id AS last_node,
    token.term,
    date_part('epoch', statement_timestamp() - token.acquired_at) AS acquired_age_s,
    token.acquired_at,
    CASE
        WHEN token.session IS NULL THEN 'free'
        WHEN holder.state IN ('ok', 'late') THEN 'held'
        WHEN holder.state = 'dead' THEN 'silent'
        ELSE 'over'
    END AS state,
    holder.beat_age_s,
    holder.liveness_s,
    holder.group_id AS holder_group,
    holder.session,
    node.beat
FROM {schema}.token_holder AS token
LEFT JOIN {schema}.coord_nodes AS holder
    ON holder.session = token.session AND holder.task_id = token.task_id
LEFT JOIN {schema}.health_check AS node
    ON node.group_id = holder.group_id AND node.task_id = holder.task_id
WHERE (
        CAST(%(group_id)s AS text) IS NULL
        OR token.group_id = %(group_id)s
        OR starts_with(token.group_id, CAST(%(group_id)s AS text) || '/')
    )
    AND (CAST(%(token)s AS text) IS NULL OR token.group_id = %(token)s)
ORDER BY token.group_id
"""

END_HOLDER: LiteralString = """
SELECT {schema}.coord_end_holder(
    %(group)s, %(node)s, %(session)s::uuid, %(beat)s::bigint, %(who)s, %(reason)s
) AS given
"""


def tokens(database: AdminConnection, group: str | None, token: str | None = None) -> Rows:
    """Return the tokens of a group and below it, or one of them, or all."""
    return database.read(TOKENS, group_id=group, token=token)


def end_holder(
    database: AdminConnection,
    row: Row,
    *,
    who: str,
    reason: str,
) -> int | None:
    """End the session that a row of `tokens` shows, if it still has the same beat.

    Returns the number of tokens that were given back; None: it lives, or is another session.
    Errors: DatabaseRefusedError, DatabaseUnreachableError.
    """
    values = {"group": row["holder_group"], "node": row["node"], "session": row["session"]}
    values |= {"beat": row["beat"], "who": who, "reason": reason}

    def body(cursor: psycopg.Cursor[Row]) -> Row | None:
        return cursor.execute(named(END_HOLDER, database.schema), values).fetchone()

    try:
        found = database.write(body)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseRefusedError(
            f"{database.where}: this login may not end the session of a node: a"
            " system_administrator's login does it (see `coord db roles`)"
        ) from error
    except psycopg.Error as error:
        raise database_error(error, database.where) from error
    return None if found is None or found["given"] is None else int(found["given"])

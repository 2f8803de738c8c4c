"""Fenced transactions of users: how they begin, and how a dead holder's are ended.

`coord_fence(group, term, session)` (a function of the schema) locks the token row FOR SHARE until
the user's transaction ends, so nobody takes or releases the token under it. A frozen client would
so block its successor for ever; the session with the right to the token row ends that backend.
The fence also holds a shared advisory lock, by which its backends are found in pg_locks. It does
not wait for that lock, which anybody may take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor
from coordinator.store.sql.view import Place

#: Ends a token's fenced transactions when the token is as it was seen and its session is over:
#: released, ended, silent since the beat that was seen, or the asker's own.
#: Only backends of the same role: for others we have no right, and their fence must end by itself.
TERMINATE_FENCES: LiteralString = """
SELECT count(pg_terminate_backend(backend.pid))
FROM pg_stat_activity AS backend
WHERE backend.usename = current_user
    AND backend.pid <> pg_backend_pid()
    AND EXISTS (
        SELECT
        FROM {schema}.token_holder AS token
        LEFT JOIN {schema}.health_check AS node
            ON node.group_id = %(group)s AND node.task_id = token.task_id
        WHERE token.group_id = %(token)s
            AND {holds_fence}
            AND token.term = %(seen_term)s
            AND token.session IS NOT DISTINCT FROM %(seen)s::uuid
            AND (
                token.session IS NULL
                OR node.session IS DISTINCT FROM token.session
                OR node.ended_at IS NOT NULL
                OR node.beat = %(seen_beat)s
                OR token.session = %(mine)s::uuid
            )
    )
"""

#: Finds a fence without waiting for it: a locked row is passed over.
#: A sub-select is hashed whatever the plan; an array would be compared name by name.
LOCK_OWN_TOKENS: LiteralString = """
SELECT held.group_id, held.term
FROM {schema}.token_holder AS held
WHERE held.session = %(mine)s::uuid
    AND (%(tokens)s::text[] IS NULL OR held.group_id IN (SELECT unnest(%(tokens)s::text[])))
    AND held.group_id NOT IN (
        SELECT free.group_id FROM (
            SELECT group_id FROM {schema}.token_holder
            WHERE session = %(mine)s::uuid
                AND (%(tokens)s::text[] IS NULL OR group_id IN (SELECT unnest(%(tokens)s::text[])))
            FOR UPDATE SKIP LOCKED
        ) AS free
    )
"""


def terminate_fence_holders(
    cursor: Cursor,
    place: Place,
    *,
    seen_term: int,
    seen_session: str | None,
    seen_beat: int | None,
    mine: str,
) -> int:
    """End the fenced transactions of the session that was seen, when it is over; count them."""
    params = place.params(
        schema=place.schema, seen_term=seen_term, seen=seen_session, seen_beat=seen_beat, mine=mine
    )
    cursor.execute(named(TERMINATE_FENCES, place.schema), params)
    row = cursor.fetchone()
    return 0 if row is None else int(row[0])


def push_fences_aside(
    cursor: Cursor, place: Place, mine: str, tokens: Sequence[str] | None = None
) -> None:
    """End what fenced transactions the own session has left: their programs have ended.

    tokens: those whose programs have; None: all of the session's.
    Only in a READ COMMITTED transaction: each statement must see the newest rows.
    """
    locked = None if tokens is None else list(tokens)
    cursor.execute(named(LOCK_OWN_TOKENS, place.schema), {"mine": mine, "tokens": locked})
    for token, term in cursor.fetchall():
        params = place.params(
            schema=place.schema, seen_term=term, seen=mine, seen_beat=None, mine=mine
        )
        cursor.execute(named(TERMINATE_FENCES, place.schema), {**params, "token": token})

"""Operate the nodes of a group: suspend their observer, and forget a dead one."""

from __future__ import annotations

from typing import LiteralString

from coordinator.errors import NodeAliveError, NotFoundError
from coordinator.store.admin.task_definitions import Change

SUSPEND: LiteralString = """
UPDATE {schema}.group_record
SET suspended_at = clock_timestamp(), suspended_by = %(who)s, suspend_reason = %(reason)s
WHERE group_id = %(group)s AND suspended_at IS NULL
"""

RESUME: LiteralString = """
UPDATE {schema}.group_record
SET suspended_at = NULL, suspended_by = NULL, suspend_reason = NULL
WHERE group_id = %(group)s AND suspended_at IS NOT NULL
"""

GROUP_EXISTS: LiteralString = """
SELECT FROM {schema}.group_record WHERE group_id = %(group)s
"""

#: Ages are by the server's clock, which may have been set. So a row whose session was not ended is
#: removed only while that session holds no token. A live node notices by its next heartbeat.
EVICT: LiteralString = """
DELETE FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s
    AND node.task_id = %(node)s
    AND (
        node.session IS NULL
        OR node.ended_at IS NOT NULL
        OR (
            clock_timestamp() - node.last_heartbeat > node.liveness_ms * interval '1 ms'
            AND NOT EXISTS (
                SELECT FROM {schema}.token_holder AS token WHERE token.session = node.session
            )
        )
    )
"""

WHY_NOT: LiteralString = """
SELECT
    greatest(0, date_part('epoch', clock_timestamp() - node.last_heartbeat)) AS age_s,
    node.liveness_ms / 1000.0 AS liveness_s,
    (SELECT count(*) FROM {schema}.token_holder AS token WHERE token.session = node.session)
        AS held_count
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.task_id = %(node)s
"""

#: All transactions lock these rows in the order of the names.
FORGET_TASKS: LiteralString = """
WITH known AS (
    SELECT known.task
    FROM {schema}.task_node AS known
    WHERE known.group_id = %(group)s AND known.node = %(node)s
    ORDER BY known.task
    FOR UPDATE
)
DELETE FROM {schema}.task_node AS gone
USING known
WHERE gone.group_id = %(group)s AND gone.node = %(node)s AND gone.task = known.task
"""


def suspend(change: Change) -> bool:
    """Stop the decisions of the observer; false when it is suspended already.

    Errors: NotFoundError.
    """
    return _switched(change, SUSPEND, "observer suspended")


def resume(change: Change) -> bool:
    """Let the observer decide again; false when it is not suspended.

    Errors: NotFoundError.
    """
    return _switched(change, RESUME, "observer resumed")


def evict(change: Change, node: str) -> None:
    """Remove the row of a node that is gone; a node that returns is a new one.

    Errors: NotFoundError; NodeAliveError when it may live, or holds a token all the same.
    """
    if change.run(EVICT, node=node):
        change.run(FORGET_TASKS, node=node)
        change.note(f"node {node} evicted")
        return
    change.run(WHY_NOT, node=node)
    seen = change.cursor.fetchone()
    if seen is None:
        raise NotFoundError(f"{change.group}: there is no node {node!r}")
    said = f"{change.group}: node {node} beat {seen['age_s']:.1f} s ago"
    if seen["age_s"] <= seen["liveness_s"]:
        raise NodeAliveError(f"{said} and lives; stop it first")
    raise NodeAliveError(
        f"{said} and holds {seen['held_count']} tokens: another node has to end its session first"
    )


def _switched(change: Change, statement: LiteralString, kind: str) -> bool:
    if change.run(statement):
        change.note(kind)
        return True
    if not change.run(GROUP_EXISTS):
        raise NotFoundError(f"there is no group {change.group!r}")
    return False

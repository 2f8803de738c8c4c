"""Tokens of tasks that are given back after their programs have ended, many in one transaction.

All transactions take locks in one order: the own session, tokens, tasks, rows of task_node, and
the version last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from coordinator.protocol.messages.group_record import token_name
from coordinator.protocol.messages.requests import Answer, View
from coordinator.protocol.messages.task_requests import ReleaseTasks
from coordinator.store.node.fence_locks import push_fences_aside
from coordinator.store.node.group_record import raise_version
from coordinator.store.node.session import LOCK_OWN_SESSION
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, read_committed
from coordinator.store.sql.view import Place, read_view

GIVE_TASKS: LiteralString = """
WITH given AS (
    UPDATE {schema}.token_holder AS token
    SET session = NULL, released_at = clock_timestamp()
    FROM unnest(
        %(tokens)s::text[], %(tasks)s::text[], %(terms)s::bigint[], %(reasons)s::text[],
        %(failed)s::boolean[], %(done)s::boolean[], %(ended_ms)s::bigint[]
    ) AS asked (token, task, term, reason, failed, done, ended_ms)
    WHERE token.group_id = asked.token
        AND token.term = asked.term
        AND token.session = %(mine)s::uuid
    RETURNING
        token.group_id, token.term, asked.task, asked.reason, asked.failed, asked.done,
        asked.ended_ms
), closed AS (
    UPDATE {schema}.token_history AS held
    SET ended_at = clock_timestamp(),
        active_until = clock_timestamp() - given.ended_ms * interval '1 millisecond',
        end_how = 'release', end_reason = given.reason
    FROM given
    WHERE held.group_id = given.group_id AND held.term = given.term AND held.ended_at IS NULL
), noted AS (
    INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
    SELECT
        group_id,
        CASE WHEN done THEN 'finished' WHEN failed THEN 'gave up' ELSE 'released' END,
        %(node)s, %(mine)s::uuid, term, reason, %(node)s
    FROM given
)
SELECT given.task, given.reason, given.failed, given.done FROM given
"""

#: Keeps the holders at the moment when the present version was made, until the next version.
#: Version and tokens belong together, so it waits for a transaction that raises the version now.
KEEP_BASES: LiteralString = """
UPDATE {schema}.token_holder AS token
SET base_version = record.version,
    base_node = token.task_id,
    base_taken_version = coalesce(token.taken_version, 0)
FROM (
    SELECT record.version FROM {schema}.group_record AS record
    WHERE record.group_id = %(group)s
    FOR SHARE
) AS record
WHERE token.group_id = ANY(%(tokens)s::text[])
    AND token.session IS NULL
    AND token.base_version IS DISTINCT FROM record.version
"""

FINISH_TASKS: LiteralString = """
UPDATE {schema}.task AS task
SET enabled = false,
    end_reason = finished.reason,
    changed_at = clock_timestamp(),
    changed_by = %(node)s
FROM unnest(%(tasks)s::text[], %(reasons)s::text[]) AS finished (task, reason)
WHERE task.group_id = %(group)s AND task.name = finished.task AND task.enabled
"""

COUNT_FAILURES: LiteralString = """
INSERT INTO {schema}.task_node AS known (group_id, task, node, failed_count)
SELECT task.group_id, task.name, %(node)s, 1
FROM {schema}.task AS task
WHERE task.group_id = %(group)s AND task.name = ANY(%(tasks)s::text[]) AND NOT task.deleted
ORDER BY task.name
ON CONFLICT (group_id, task, node) DO UPDATE SET failed_count = known.failed_count + 1
"""

#: Sent once in a transaction for all of its tokens.
TELL_FREED: LiteralString = """
SELECT pg_notify(%(channel)s, json_build_object('kind', 'freed')::text)
"""


def release_tasks(cursor: Cursor, place: Place, request: ReleaseTasks) -> Answer:
    """Give back what is still held under the terms that are named; not done without a session."""
    given = request.given
    params = place.params(
        mine=request.session,
        tokens=[token_name(place.group, one.task) for one in given],
        tasks=[one.task for one in given],
        terms=[one.term for one in given],
        reasons=[one.reason for one in given],
        failed=[one.failed for one in given],
        done=[one.done for one in given],
        ended_ms=[round(one.ended_s * 1000) for one in given],
    )

    def body(cursor: Cursor) -> View | None:
        cursor.execute(named(LOCK_OWN_SESSION, place.schema), params)
        if cursor.rowcount == 0:
            return None
        push_fences_aside(
            cursor, place, request.session, [token_name(place.group, one.task) for one in given]
        )
        cursor.execute(named(GIVE_TASKS, place.schema), params)
        over = cursor.fetchall()
        if over:
            cursor.execute(named(TELL_FREED, place.schema), params)
        _account(cursor, place, over)
        return read_view(cursor, place)

    view = read_committed(cursor, body)
    if view is None:
        return Answer(done=False, view=read_view(cursor, place))
    return Answer(done=True, view=view)


def _account(cursor: Cursor, place: Place, over: Sequence[Sequence[Any]]) -> None:
    """Disable finished tasks, count this node's failures, and raise the version for both.

    What is only given back changes nothing in the record: who should run it was decided before.
    """
    finished = [(task, reason) for task, reason, _, done in over if done]
    failed = [task for task, _, failed, _ in over if failed]
    if finished:
        tasks, reasons = map(list, zip(*finished, strict=True))
        params = place.params(tasks=tasks, reasons=reasons)
        cursor.execute(named(FINISH_TASKS, place.schema), params)
    if failed:
        cursor.execute(named(COUNT_FAILURES, place.schema), place.params(tasks=failed))
    if finished or failed:
        raise_version(cursor, place)
    elif over:
        tokens = [token_name(place.group, task) for task, *_ in over]
        cursor.execute(named(KEEP_BASES, place.schema), place.params(tokens=tokens))

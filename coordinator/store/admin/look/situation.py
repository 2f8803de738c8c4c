"""Queries of what `coord explain` explains: one group at one moment, ages by the server's clock."""

from __future__ import annotations

from typing import LiteralString

from coordinator.store.admin import queries, task_queries
from coordinator.store.admin.connection import AdminConnection, Rows
from coordinator.store.node.group_record import READ_RECORD

#: The group with its token, or with its observer's; no row where there is no such group.
GROUP: LiteralString = """
SELECT
    clock_timestamp() AS now,
    date_part('epoch', clock_timestamp() - pg_postmaster_start_time()) AS server_age_s,
    record.hosts_tasks,
    record.suspended_by,
    record.suspend_reason,
    date_part('epoch', statement_timestamp() - record.suspended_at) AS suspended_age_s,
    coalesce(token.term, 0) AS term,
    token.task_id AS holder,
    token.session IS NOT NULL AS held,
    coalesce(token.session = node.session, false) AS holds,
    date_part('epoch', statement_timestamp() - token.acquired_at) AS acquired_age_s,
    date_part('epoch', statement_timestamp() - token.released_at) AS released_age_s
FROM {schema}.group_record AS record
LEFT JOIN {schema}.token_holder AS token
    ON token.group_id = record.group_id
        || CASE WHEN record.hosts_tasks THEN '/_observer' ELSE '' END
LEFT JOIN {schema}.health_check AS node
    ON node.group_id = record.group_id AND node.task_id = token.task_id
WHERE record.group_id = %(group)s
"""

NODES: LiteralString = """
SELECT
    seen.task_id AS node, seen.state, coalesce(seen.beat_age_s, 0) AS beat_age_s, seen.heartbeat_s,
    seen.liveness_s, seen.lease_s, seen.priority, seen.host, seen.pid, seen.standing,
    seen.end_reason, seen.address,
    coalesce(date_part('epoch', statement_timestamp() - seen.joined_at), 0) AS joined_age_s,
    date_part('epoch', statement_timestamp() - seen.ended_at) AS ended_age_s,
    node.caught_up, node.hosts_tasks, node.capacity,
    (
        SELECT count(*) FROM {schema}.token_holder AS token WHERE token.session = seen.session
    ) AS held_count
FROM {schema}.coord_nodes AS seen
JOIN {schema}.health_check AS node
    ON node.group_id = seen.group_id AND node.task_id = seen.task_id
WHERE seen.group_id = %(group)s AND seen.session IS NOT NULL
ORDER BY seen.task_id
"""

#: The last holdings of one token, newest first: as many as there may be nodes in a crash loop.
TERMS: LiteralString = """
SELECT
    held.term, held.task_id AS node, held.how, coalesce(held.reason, '') AS reason,
    held.from_task AS previous, held.gap_s, held.end_how,
    coalesce(held.end_reason, '') AS end_reason,
    date_part('epoch', statement_timestamp() - held.acquired_at) AS age_s,
    date_part('epoch', statement_timestamp() - held.ended_at) AS ended_age_s
FROM {schema}.coord_history AS held
JOIN {schema}.group_record AS record ON record.group_id = %(group)s
WHERE held.group_id = record.group_id || CASE
    WHEN CAST(%(task)s AS text) IS NOT NULL THEN '/' || CAST(%(task)s AS text)
    WHEN record.hosts_tasks THEN '/_observer'
    ELSE ''
END
ORDER BY held.term DESC
LIMIT 20
"""

SCHEDULES: LiteralString = """
SELECT
    kept.last_outcome AS outcome,
    kept.ended,
    coalesce(kept.end_reason, '') AS end_reason,
    date_part('epoch', kept.next_fire_at - statement_timestamp()) AS due_s,
    date_part('epoch', statement_timestamp() - kept.last_fire_at) AS fired_age_s
FROM {schema}.schedule AS kept
WHERE kept.group_id = %(group)s || coalesce('/' || CAST(%(task)s AS text), '') AND kept.name = ''
"""

#: Planned changes that stand, the oldest first.
PLANNED: LiteralString = """
SELECT
    change.kind, change.node, change.value,
    date_part('epoch', statement_timestamp() - change.asked_at) AS age_s,
    coalesce(change.asked_by, '') AS by, coalesce(change.reason, '') AS reason,
    CASE WHEN change.due_at > statement_timestamp() THEN
        date_part('epoch', change.due_at - statement_timestamp())
    END AS due_s,
    date_part('epoch', change.until_at - statement_timestamp()) AS until_s,
    greatest(
        0, date_part('epoch', statement_timestamp() - coalesce(change.due_at, change.asked_at))
    ) AS open_s
FROM {schema}.sys_planned_changes AS change
WHERE change.group_id = %(group)s AND change.state IN ('waiting', 'open')
    AND (change.until_at IS NULL OR change.until_at > statement_timestamp())
ORDER BY change.id
"""

#: A node's login does not read when a schedule runs next, and explains without it.
READABLE: LiteralString = """
SELECT
    has_column_privilege(
        CAST(quote_ident(%(schema)s) || '.schedule' AS regclass), 'next_fire_at', 'SELECT'
    ) AS schedules
"""

NAMES: LiteralString = "SELECT group_id FROM {schema}.group_record ORDER BY group_id"

QUERIES: dict[str, LiteralString] = {
    "group": GROUP,
    "status": queries.GROUPS,
    "nodes": NODES,
    "terms": TERMS,
    "schedules": SCHEDULES,
    "planned": PLANNED,
    "record": READ_RECORD,
    "tasks": task_queries.TASKS,
    "task_nodes": task_queries.TASK_NODES,
}


def situation(database: AdminConnection, group: str, task: str | None) -> dict[str, Rows]:
    """Return all rows about a group, and about one task of it, as of one moment."""
    (readable,) = database.read(READABLE, schema=database.schema)
    asked = {name: query for name, query in QUERIES.items() if readable.get(name, True)}
    found = database.read_all(*asked.values(), group=group, group_id=group, task=task)
    return {name: [] for name in QUERIES} | dict(zip(asked, found, strict=True))

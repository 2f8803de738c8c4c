"""Queries of people about tasks, nodes, observers and cursors, on the views of their schema."""

from __future__ import annotations

from typing import LiteralString

#: The view, and the definition as `task_of` reads it. A task's program and its options are its
#: group's own: where rows are guarded, the logins of other groups do not see these lines.
TASKS: LiteralString = """
SELECT
    shown.*,
    json_build_array({task_cells}) AS definition,
    date_part('epoch', statement_timestamp() - shown.since) AS since_age_s
FROM {schema}.sys_ongoing_tasks AS shown
JOIN {schema}.task AS task ON task.group_id = shown.group_id AND task.name = shown.task
WHERE (CAST(%(group)s AS text) IS NULL OR shown.group_id = %(group)s)
    AND (CAST(%(task)s AS text) IS NULL OR shown.task = %(task)s)
ORDER BY shown.group_id, shown.task
"""

TASK_NODES: LiteralString = """
SELECT shown.*, date_part('epoch', statement_timestamp() - shown.told_at) AS told_age_s
FROM {schema}.sys_task_nodes AS shown
WHERE shown.group_id = %(group)s AND shown.task = %(task)s
ORDER BY shown.node
"""

NODES: LiteralString = """
SELECT shown.*
FROM {schema}.sys_nodes AS shown
WHERE CAST(%(group)s AS text) IS NULL OR shown.group_id = %(group)s
ORDER BY shown.group_id, shown.state = 'ended', shown.node
"""

DECISIONS: LiteralString = """
SELECT shown.*, date_part('epoch', statement_timestamp() - shown.at) AS age_s
FROM {schema}.sys_observer_decisions AS shown
WHERE shown.group_id = %(group)s
ORDER BY shown.id DESC
LIMIT %(count)s
"""

OBSERVER: LiteralString = """
SELECT
    status.group_id,
    status.state,
    status.task_id AS node,
    status.term,
    status.since,
    date_part('epoch', statement_timestamp() - status.since) AS since_age_s,
    record.version,
    record.hosts_tasks,
    record.suspended_at,
    record.suspended_by,
    record.suspend_reason
FROM {schema}.coord_status AS status
JOIN {schema}.group_record AS record ON record.group_id = status.group_id
WHERE status.group_id = %(group)s
"""

CURSOR: LiteralString = """
SELECT
    %(group)s::text AS group_id,
    %(task)s::text AS task,
    kept.content AS cursor,
    kept.term,
    kept.session::text AS session,
    kept.saved_at,
    coalesce(kept.sequence, 0) AS save_count
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT * FROM {schema}.token_state AS saved
    WHERE saved.group_id = %(group)s || '/' || %(task)s
    ORDER BY saved.sequence DESC
    LIMIT 1
) AS kept ON true
"""

#: Nodes that run tasks, and how many: `coord status` adds them for a group that spreads tasks.
TASK_HOSTS: LiteralString = """
SELECT seen.group_id, seen.node AS task_id, seen.task_count, seen.observer, seen.caught_up
FROM {schema}.sys_nodes AS seen
JOIN {schema}.group_record AS record ON record.group_id = seen.group_id AND record.hosts_tasks
WHERE CAST(%(group_id)s AS text) IS NULL OR seen.group_id = %(group_id)s
"""

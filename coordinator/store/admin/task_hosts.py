"""Which nodes run tasks, and how many: what `coord status` adds for a group that spreads tasks."""

from __future__ import annotations

from psycopg import sql

TASK_HOSTS = sql.SQL(
    """
SELECT seen.group_id, seen.node AS task_id, seen.task_count, seen.observer
FROM {schema}.sys_nodes AS seen
JOIN {schema}.group_record AS record ON record.group_id = seen.group_id AND record.hosts_tasks
WHERE CAST(%(group_id)s AS text) IS NULL OR seen.group_id = %(group_id)s
"""
)

"""Query for the metrics of a node, of columns that the login of a node may read."""

from __future__ import annotations

from typing import LiteralString

#: Runs of the schedules of a group and of its tasks.
RUNS: LiteralString = """
SELECT
    kept.group_id AS name,
    kept.ok_count AS ok,
    kept.failed_count AS failed,
    kept.stopped_count AS stopped,
    kept.died_count AS died,
    kept.skipped_count AS skipped,
    kept.denied_count AS denied
FROM {schema}.schedule AS kept
WHERE kept.group_id = %(group_id)s
    OR starts_with(kept.group_id, CAST(%(group_id)s AS text) || '/')
ORDER BY kept.group_id, kept.name
LIMIT %(count)s
"""

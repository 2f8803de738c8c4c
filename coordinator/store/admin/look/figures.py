"""Query for the metrics of a node, of columns that the login of a node may read."""

from __future__ import annotations

from typing import LiteralString

#: Runs of the schedules of a group and of its tasks, those by hand with the others.
RUNS: LiteralString = """
SELECT
    kept.group_id AS name,
    CAST(sum(kept.ok_count) AS bigint) AS ok,
    CAST(sum(kept.failed_count) AS bigint) AS failed,
    CAST(sum(kept.stopped_count) AS bigint) AS stopped,
    CAST(sum(kept.died_count) AS bigint) AS died,
    CAST(sum(kept.skipped_count) AS bigint) AS skipped,
    CAST(sum(kept.denied_count) AS bigint) AS denied
FROM {schema}.schedule AS kept
WHERE kept.group_id = %(group_id)s
    OR starts_with(kept.group_id, CAST(%(group_id)s AS text) || '/')
GROUP BY kept.group_id
ORDER BY kept.group_id
LIMIT %(count)s
"""

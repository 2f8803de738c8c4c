"""Queries of groups, nodes and takeovers, on the views that `psql` shows to people, too."""

from __future__ import annotations

from typing import LiteralString

#: With what holds up a group after a failover (rule E3), NULL where nothing does: wait_s is counted
#: from when the group's first node saw the branch. A standby cannot tell its timeline.
GROUPS: LiteralString = """
SELECT status.group_id, state, task_id, status.term, since, standby_count, beat_age_s, lease_left_s,
       leaderless_s, liveness_s, last_task_id,
       (
           SELECT known.hosts_tasks FROM {schema}.group_record AS known
           WHERE known.group_id = status.group_id
       ) AS hosts_tasks,
       ended.end_reason, ended.ended_age_s, ended.pause_s,
       (
           SELECT change.kind || coalesce(' by ' || change.asked_by, '')
               || coalesce(': ' || change.reason, '')
           FROM {schema}.sys_planned_changes AS change
           WHERE change.group_id = status.group_id AND change.state = 'open'
               AND change.kind IN ('pause work', 'pause takeovers')
               AND (change.until_at IS NULL OR change.until_at > statement_timestamp())
           LIMIT 1
       ) AS paused,
       CAST(EXTRACT(EPOCH FROM statement_timestamp() - since) AS double precision) AS since_age_s,
       unsettled.timeline AS unsettled_timeline, unsettled.restarted,
       CAST(unsettled.longest_ms / 1000.0 - EXTRACT(
           EPOCH FROM statement_timestamp() - unsettled.first_seen_at
       ) AS double precision) AS wait_s
FROM {schema}.coord_status AS status
LEFT JOIN LATERAL (
    SELECT epoch.timeline, epoch.first_seen_at,
        EXISTS (
            SELECT FROM {schema}.database_epoch AS earlier
            WHERE earlier.branch = epoch.branch AND earlier.started_at < epoch.started_at
        ) AS restarted,
        (
            SELECT max(near.liveness_ms) FROM {schema}.health_check AS near
            WHERE near.group_id = status.group_id AND near.ended_at IS NULL
        ) AS longest_ms
    FROM {schema}.group_record AS record, {schema}.database_epoch AS epoch
    WHERE record.group_id = status.group_id
        AND epoch.group_id = status.group_id
        AND epoch.timeline = CASE WHEN NOT pg_is_in_recovery() THEN {timeline} END
        AND epoch.started_at = {started_at}
        AND NOT epoch.settled
        AND (record.settled_branch, record.settled_start)
            IS DISTINCT FROM (epoch.branch, epoch.started_at)
    LIMIT 1
) AS unsettled ON true
LEFT JOIN LATERAL (
    SELECT held.end_reason,
        date_part('epoch', statement_timestamp() - held.ended_at) AS ended_age_s,
        (
            SELECT node.liveness_ms / 1000.0 FROM {schema}.health_check AS node
            WHERE node.group_id = status.group_id AND node.task_id = status.last_task_id
                AND node.ended_at IS NULL AND node.joined_at <= held.ended_at
        ) AS pause_s
    FROM {schema}.token_history AS held
    WHERE held.group_id = status.group_id AND held.term = status.term
        AND held.ended_at IS NOT NULL
) AS ended ON true
WHERE CAST(%(group_id)s AS text) IS NULL OR status.group_id = %(group_id)s
ORDER BY status.group_id
"""

NODES: LiteralString = """
SELECT group_id, task_id, role, state, beat_age_s, lease_s, liveness_s, heartbeat_s, host, pid,
       version, priority, standing, config_hash, isolation, uptime_s, end_reason, ready,
       address, clock_offset_s
FROM {schema}.coord_nodes
WHERE CAST(%(group_id)s AS text) IS NULL OR group_id = %(group_id)s
ORDER BY group_id, role, state = 'ended', task_id
"""

#: With the names of the fields of app.admin.status.Takeover.
HISTORY: LiteralString = """
SELECT group_id AS "group", term, task_id AS node, from_task AS previous, acquired_at, ended_at,
       how, reason, end_how, end_reason, gap_s, detected_s,
       CAST(EXTRACT(EPOCH FROM statement_timestamp() - acquired_at) AS double precision) AS age_s
FROM {schema}.coord_history
WHERE (
        CAST(%(group_id)s AS text) IS NULL
        OR group_id IN (%(group_id)s, CAST(%(group_id)s AS text) || '/_observer')
    )
    AND (CAST(%(since_s)s AS double precision) IS NULL
       OR acquired_at >= statement_timestamp() - make_interval(secs => %(since_s)s))
ORDER BY acquired_at DESC, group_id, term DESC
"""

#: Groups whose webhook has not taken the next event yet.
WEBHOOKS: LiteralString = """
SELECT mark.group_id, mark.failed_count, mark.error,
    date_part('epoch', statement_timestamp() - mark.failed_since) AS failing_s
FROM {schema}.webhook AS mark
WHERE mark.failed_count > 0
    AND (CAST(%(group_id)s AS text) IS NULL OR mark.group_id = %(group_id)s)
"""

#: Tells a group without history in the requested time from a group that does not exist.
KNOWN: LiteralString = (
    "SELECT EXISTS (SELECT FROM {schema}.coord_status WHERE group_id = %(group_id)s)"
)

#: The planned change of a number, or the open ones of a group or of all.
PLANNED: LiteralString = """
SELECT
    change.id, change.group_id, change.kind, change.node, change.value, change.state,
    change.asked_at, change.asked_by, change.reason, change.due_at, change.until_at,
    change.ended_at, change.ended_by, change.outcome_reason,
    CAST(EXTRACT(EPOCH FROM statement_timestamp() - change.asked_at) AS double precision) AS age_s,
    CAST(EXTRACT(EPOCH FROM change.due_at - statement_timestamp()) AS double precision) AS wait_s,
    CAST(EXTRACT(EPOCH FROM change.until_at - statement_timestamp()) AS double precision) AS left_s,
    change.agreed_at, setting.lacking, setting.contradicting
FROM {schema}.sys_planned_changes AS change
LEFT JOIN LATERAL (
    SELECT
        array_agg(node.task_id ORDER BY node.task_id)
            FILTER (WHERE node.liveness_s <> change.value / 1000.0) AS lacking,
        array_agg(node.task_id ORDER BY node.task_id)
            FILTER (WHERE node.file_liveness_s <> change.value / 1000.0) AS contradicting
    FROM {schema}.coord_nodes AS node
    WHERE node.group_id = change.group_id AND node.state IN ('ok', 'late')
) AS setting ON change.kind = 'livenessCheckInterval'
WHERE (%(group_id)s::text IS NULL OR change.group_id = %(group_id)s)
    AND (%(id)s::bigint IS NULL OR change.id = %(id)s)
    AND (%(id)s::bigint IS NOT NULL OR change.state IN ('open', 'waiting', 'in force'))
ORDER BY change.group_id, change.id
"""

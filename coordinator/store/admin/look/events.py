"""Queries of the log of events and of the schedules, ages by the server's clock."""

from __future__ import annotations

from typing import LiteralString

#: An answer has at most so many events; a reader asks again for more.
EVENTS_MAX = 1000

#: Events of a group and of the tokens below it, oldest first. Numbers are given before a
#: transaction ends, so a smaller one may appear later: a reader asks from before the last again.
EVENTS: LiteralString = """
SELECT
    told.id, told.at, told.group_id AS token, told.kind, told.task_id AS node, told.term,
    told.reason, told.who,
    date_part('epoch', statement_timestamp() - told.at) AS age_s
FROM {schema}.event AS told
WHERE told.id > %(after)s::bigint
    AND (
        CAST(%(group_id)s AS text) IS NULL
        OR told.group_id = %(group_id)s
        OR starts_with(told.group_id, CAST(%(group_id)s AS text) || '/')
    )
    AND (
        CAST(%(since_s)s AS double precision) IS NULL
        OR told.at >= statement_timestamp() - make_interval(secs => %(since_s)s)
    )
ORDER BY told.id
LIMIT %(count)s
"""

#: Number of the last event, from which on a reader follows.
LAST_EVENT: LiteralString = "SELECT coalesce(max(told.id), 0) AS id FROM {schema}.event AS told"

#: Each schedule with the node that holds its token, in the order of their names. Functions of an
#: application that run under the group's own token have names below it.
JOBS: LiteralString = """
SELECT
    kept.group_id || CASE
        WHEN kept.name IN ('', 'once') THEN ''
        WHEN kept.name = '_hand' THEN ' by hand'
        ELSE '/' || kept.name
    END AS job,
    holder.task_id AS node,
    kept.last_fire_at AS fired_at,
    date_part('epoch', statement_timestamp() - kept.last_fire_at) AS fired_age_s,
    CASE
        WHEN kept.name = '_hand' AND kept.reserved_until > statement_timestamp()
            AND (kept.last_fire_at IS NULL OR kept.last_fire_at < kept.reserved_slot) THEN 'asked'
        ELSE kept.last_outcome
    END AS outcome,
    kept.last_error AS error,
    CAST(kept.last_duration_ms / 1000.0 AS double precision) AS duration_s,
    CASE WHEN NOT kept.ended THEN kept.next_fire_at END AS next_at,
    CASE WHEN NOT kept.ended THEN
        date_part('epoch', kept.next_fire_at - statement_timestamp())
    END AS next_in_s,
    kept.fired_count,
    kept.skipped_count,
    kept.ended,
    coalesce(kept.end_reason, '') AS end_reason
FROM {schema}.schedule AS kept
LEFT JOIN LATERAL (
    SELECT seen.task_id
    FROM {schema}.token_holder AS token
    JOIN {schema}.coord_nodes AS seen
        ON seen.session = token.session AND seen.state IN ('ok', 'late')
    WHERE token.group_id = kept.group_id
    LIMIT 1
) AS holder ON true
WHERE CAST(%(group_id)s AS text) IS NULL
    OR kept.group_id = %(group_id)s
    OR starts_with(kept.group_id, CAST(%(group_id)s AS text) || '/')
ORDER BY kept.group_id, kept.name
"""

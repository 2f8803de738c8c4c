"""Statements of the worker's side of operations."""

from __future__ import annotations

from typing import LiteralString

SERVER: LiteralString = """
SELECT server.timeline, server.started_at, record.hosts_tasks, {operations} AS any_open
FROM ({server}) AS server
LEFT JOIN {schema}.group_record AS record ON record.group_id = %(group)s
"""
OPEN: LiteralString = """
SELECT
    part.id::text, part.operation::text, made.type, part.kind = 'plan' AS plan, part.entity,
    part.node, part.state, part.version, part.owner, part.session::text, part.attempt,
    part.units_total, part.reports, part.moves, part.avoided,
    made.location, made.place, made.options, part.argument
FROM {schema}.operation_subtask AS part
JOIN {schema}.operation AS made ON made.id = part.operation
WHERE part.group_id = %(group)s AND part.finished_at IS NULL
    AND CASE part.state
        WHEN 'RUNNING' THEN true
        ELSE made.type = ANY (%(types)s::text[]) AND (part.node IS NULL OR part.node = %(node)s)
            AND made.state IN ('PENDING', 'RUNNING') AND made.waits_for IS NULL
    END
ORDER BY part.state DESC, made.created_at, part.kind, part.id
LIMIT %(open_max)s
"""
HOSTS: LiteralString = """
SELECT offered.node, offered.types
FROM {schema}.operation_node AS offered
JOIN {schema}.health_check AS node
    ON node.group_id = offered.group_id AND node.task_id = offered.node
WHERE offered.group_id = %(group)s AND node.ended_at IS NULL AND node.standing = 'member'
    AND node.last_heartbeat > clock_timestamp() - node.liveness_ms * interval '1 millisecond'
"""
OWNERS: LiteralString = """
SELECT node.task_id AS node, node.session::text, node.beat, node.liveness_ms / 1000.0 AS liveness_s,
    node.ended_at IS NOT NULL OR node.session IS NULL AS ended
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.task_id IN (
    SELECT part.owner FROM {schema}.operation_subtask AS part
    WHERE part.group_id = %(group)s AND part.state = 'RUNNING' AND part.finished_at IS NULL
)
"""
OFFER: LiteralString = """
SELECT {schema}.coord_offer_operations(
    %(group)s, %(node)s, %(session)s::uuid, %(channel)s, %(types)s::jsonb
)
"""
CLAIM: LiteralString = """
SELECT {schema}.coord_claim_subtask(
    %(group)s, %(node)s, %(session)s::uuid, %(subtask)s::uuid, %(version)s::bigint
) AS term
"""
REPORT: LiteralString = """
SELECT {schema}.coord_report_subtask(
    %(subtask)s::uuid, %(term)s::bigint, %(session)s::uuid, %(units)s::bigint, %(failed)s::bigint,
    %(size)s::bigint, %(total)s::bigint
) AS verdict
"""
END: LiteralString = """
SELECT {schema}.coord_end_subtask(
    %(subtask)s::uuid, %(term)s::bigint, %(session)s::uuid, %(state)s, %(reason)s,
    %(result)s::jsonb, %(subtasks)s::jsonb
) AS done
"""
RETURN: LiteralString = """
SELECT {schema}.coord_return_subtasks(
    %(group)s, %(session)s::uuid, %(attempts_max)s::integer
) AS count
"""
RETURN_HUNG: LiteralString = """
SELECT {schema}.coord_return_hung_subtask(
    %(group)s, %(subtask)s::uuid, %(version)s::bigint, %(reports)s::bigint, %(moves)s::bigint,
    %(attempts_max)s::integer
) AS done
"""
FORGET: LiteralString = "SELECT {schema}.coord_forget_operations(%(group)s) AS count"
#: As R1 ends a dead session; a holder's is ended by the standby that takes the token.
END_SILENT: LiteralString = """
UPDATE {schema}.health_check AS node
SET ended_at = clock_timestamp(), end_reason = 'it was silent, and owned a subtask'
WHERE node.group_id = %(group)s AND node.task_id = %(owner)s
    AND node.session = %(seen)s::uuid AND node.beat = %(beat)s AND node.ended_at IS NULL
    AND NOT EXISTS (
        SELECT FROM {schema}.token_holder AS token WHERE token.session = node.session
    )
"""
FENCE: LiteralString = """
SELECT {schema}.coord_fence_subtask(%(subtask)s::uuid, %(term)s::bigint, %(session)s::uuid)
"""

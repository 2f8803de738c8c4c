"""Composition of a statement from its schema and the fragments that several statements share.

A statement is a constant beside its only user. Braces name what is put in once per schema: {schema}
itself, and the fragments below; values are always bound parameters.
"""

from __future__ import annotations

from functools import cache
from typing import LiteralString

from psycopg import sql

from coordinator.store.driver.connect import SETTINGS
from coordinator.store.sql import task_columns

#: Microseconds of the server's clock; tells one run of a server from another.
STARTED_AT: LiteralString = "(date_part('epoch', pg_postmaster_start_time()) * 1e6)::bigint"

#: The WAL file's name is right at once after a promotion, needs no privilege, and cannot be had
#: from a standby.
TIMELINE: LiteralString = (
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"
)

#: Read anew in every answer: a pooler may have moved us to another server.
SERVER: LiteralString = "SELECT {timeline} AS timeline, {started_at} AS started_at"

#: Seconds since the last heartbeat of a row of health_check, called `node`, by the server's clock.
AGE_S: LiteralString = "greatest(0, date_part('epoch', clock_timestamp() - node.last_heartbeat))"

#: One row of health_check, called `node`, to be read by `view.node_seen`.
NODE_COLUMNS: LiteralString = """
    node.session::text,
    node.beat,
    node.liveness_ms,
    node.ended_at IS NOT NULL OR node.session IS NULL,
    {age_s},
    node.heartbeat_ms,
    node.host,
    node.pid
"""

#: True when tokens may be taken: an epoch before which nothing can have been granted is settled for
#: all groups, any other group by group. May be NULL.
SETTLED: LiteralString = """
    (epoch.settled OR record.settled_branch = epoch.branch
        AND record.settled_start = epoch.started_at)
"""

#: Of the sessions that the group had lately: what was lost may have granted a token to one of them.
#: Compared with the group's last heartbeat, and no clock.
LONGEST_MS: LiteralString = """
    coalesce((
        SELECT max(near.liveness_ms) FROM {schema}.health_check AS near
        WHERE near.group_id = %(group)s
            AND near.last_heartbeat > (
                SELECT max(known.last_heartbeat) FROM {schema}.health_check AS known
                WHERE known.group_id = %(group)s
            ) - interval '10 minutes'
    ), 0)
"""

#: The group's row of the server that answers. Needs a table `server`, and the parameters system
#: and group.
THIS_EPOCH: LiteralString = """
    epoch.system_identifier = %(system)s
    AND epoch.timeline = server.timeline AND epoch.started_at = server.started_at
    AND epoch.group_id = %(group)s
"""

#: Longest time for which a node has watched this server, while the group may have to wait for it:
#: of all groups' rows. Needs tables `server`, `record` and `epoch`, and the parameter system.
WATCHED_MS: LiteralString = """
    CASE
        WHEN epoch.settled THEN 2147483647
        WHEN {settled} THEN epoch.waited_ms
        ELSE coalesce((
            SELECT max(watched.waited_ms) FROM {schema}.database_epoch AS watched
            WHERE watched.system_identifier = %(system)s
                AND watched.timeline = server.timeline
                AND watched.started_at = server.started_at
        ), 0)
    END
"""

#: True when a copy of the server is made or kept, while the group's terms are not of the clock
#: yet: a server that is promoted by mistake is such a copy. Any login may ask who streams.
COPIED: LiteralString = """
    coalesce(
        epoch.first_branch AND NOT record.terms_by_clock
            AND EXISTS (SELECT FROM pg_stat_get_wal_senders()),
        false
    )
"""

#: The open planned changes, with the server's clock in microseconds; NULL when there are none, to
#: be read by `planned_columns.planned_of`. Needs the parameter group.
PLANNED: LiteralString = """
    (
        SELECT CASE WHEN count(*) > 0 THEN json_build_array(
            (date_part('epoch', clock_timestamp()) * 1e6)::bigint,
            json_agg(json_build_array(
                change.id, change.kind, change.node, change.asked_by, change.reason,
                greatest(0, date_part('epoch', change.due_at - clock_timestamp())),
                date_part('epoch', change.until_at - clock_timestamp()), change.value,
                change.agreed_at IS NOT NULL
            ) ORDER BY change.id)
        ) END
        FROM {schema}.planned_change AS change
        WHERE change.group_id = %(group)s AND change.outcome IS NULL
    )
"""

#: True when a subtask of an operation is open. Needs the parameter group.
OPERATIONS: LiteralString = """
    EXISTS (
        SELECT FROM {schema}.operation_subtask AS part
        WHERE part.group_id = %(group)s AND part.finished_at IS NULL
    )
"""

#: All that a view is made of, to be read by `view.view_of`. Nobody needs the longest interval once
#: the epoch is settled.
VIEW_COLUMNS: LiteralString = """
    server.timeline,
    server.started_at,
    epoch.branch::text,
    coalesce({settled}, false),
    {watched_ms},
    CASE WHEN {settled} THEN 0 ELSE {longest_ms} END,
    record.version,
    token.term,
    token.task_id,
    token.session::text,
    token.term_floor,
    node.task_id,
    {node_columns},
    {copied},
    {planned},
    {operations},
    node.address
"""

#: Needs the parameters group, token and system. LIMIT 1 keeps the planner from reading the
#: holder's row by group_id alone, as it does while it believes the group to be small: then a beat
#: would read all. The holder of a token below a group may be a process of that group that holds it
#: for its own code.
VIEW_FROM: LiteralString = """
    FROM ({server}) AS server
    LEFT JOIN {schema}.token_holder AS token ON token.group_id = %(token)s
    LEFT JOIN {schema}.group_record AS record ON record.group_id = %(group)s
    LEFT JOIN LATERAL (
        SELECT * FROM {schema}.health_check AS holder
        WHERE holder.group_id IN (%(group)s, regexp_replace(%(token)s, '/[^/]*$', ''))
            AND holder.task_id = token.task_id
        ORDER BY holder.session = token.session DESC NULLS LAST
        LIMIT 1
    ) AS node ON true
    LEFT JOIN {schema}.database_epoch AS epoch ON {this_epoch}
"""

#: Clock of the node's machine minus that of the database, within a round trip: people look at it,
#: and nothing is decided by it. Needs the parameter wall_ms.
CLOCK_MS: LiteralString = (
    "%(wall_ms)s::bigint - (date_part('epoch', clock_timestamp()) * 1000)::bigint"
)

#: One commit, one row written, no index touched. Needs the parameters group, node and mine.
BEAT: LiteralString = """
    UPDATE {schema}.health_check
    SET beat = beat + 1, last_heartbeat = clock_timestamp()
    WHERE group_id = %(group)s AND task_id = %(node)s
        AND session = %(mine)s::uuid AND ended_at IS NULL
    RETURNING beat
"""

#: Settings of a node's session beside those of all our sessions. Needs a table `session`.
#: Index scans only: on a table of one page the planner prefers a sequential scan, whose predicate
#: lock covers the whole table. jit off: a scan that cannot be avoided would look expensive to it.
#: Generic plans: lookups by key have no other, and would be planned anew five times first; with a
#: statement of every twentieth heartbeat that takes a hundred of them.
NODE_SETTINGS: LiteralString = """
    set_config('enable_seqscan', 'off', session.lent),
    set_config('jit', 'off', session.lent),
    set_config('plan_cache_mode', 'force_generic_plan', session.lent)
"""

#: Of health_check, when a session is ended by anybody but itself. Needs the parameter hosts_tasks.
STANDING_AFTER_END: LiteralString = """
    CASE WHEN %(hosts_tasks)s AND standing = 'member' THEN 'rehab' ELSE standing END
"""

#: True when something may be granted or decided now. A pooler may have moved us to a copy, which
#: has the epoch's row as well. Needs a table `record`, and the parameter system.
SETTLED_HERE: LiteralString = """
    EXISTS (
        SELECT
        FROM ({server}) AS server
        JOIN {schema}.database_epoch AS epoch ON {this_epoch}
        WHERE {settled}
            AND %(system)s = (SELECT system_identifier FROM pg_control_system())
    )
"""

#: True when the session that a row `token` of token_holder names lives: in the asker's group, or in
#: one of the token's own name. That a group does not know a holder makes no token free. Needs the
#: parameter group.
HOLDER_LIVES: LiteralString = """
    EXISTS (
        SELECT
        FROM {schema}.health_check AS living
        WHERE living.group_id IN (%(group)s, token.group_id)
            AND living.task_id = token.task_id
            AND living.session = token.session
            AND living.ended_at IS NULL
    )
"""

#: True when a row `backend` of pg_stat_activity is in a transaction that holds `token`'s fence:
#: its advisory lock tells it, whose number is of that backend alone. Needs the parameter schema.
HOLDS_FENCE: LiteralString = """
    EXISTS (
        SELECT
        FROM pg_locks AS held
        WHERE held.pid = backend.pid
            AND held.granted
            AND held.locktype = 'advisory'
            AND held.objsubid = 1
            AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (held.classid::bigint << 32) | held.objid::bigint = hashtextextended(
                'coord_fence:' || %(schema)s::text || ':' || token.group_id || ':' || backend.pid, 0
            )
    )
"""

#: Of the wanted tokens those that are free as they were seen. A task that is disabled or deleted
#: has none. Needs the parameters group, tokens, tasks, seen_terms and next_terms.
FREE_TOKENS: LiteralString = """
    FROM unnest(
        %(tokens)s::text[], %(tasks)s::text[], %(seen_terms)s::bigint[], %(next_terms)s::bigint[]
    ) AS wanted (token, task, seen_term, next_term)
    JOIN {schema}.token_holder AS token
        ON token.group_id = wanted.token AND token.term = wanted.seen_term
    JOIN {schema}.task AS task
        ON task.group_id = %(group)s AND task.name = wanted.task
        AND task.enabled AND NOT task.deleted
    LEFT JOIN {schema}.health_check AS holder
        ON holder.group_id = %(group)s
        AND holder.task_id = token.task_id
        AND holder.session = token.session
    WHERE (token.session IS NULL OR NOT {holder_lives})
"""

_FRAGMENTS: dict[str, LiteralString] = {
    "settings": SETTINGS + "," + NODE_SETTINGS,
    "started_at": STARTED_AT,
    "timeline": TIMELINE,
    "server": SERVER,
    "age_s": AGE_S,
    "node_columns": NODE_COLUMNS,
    "settled": SETTLED,
    "longest_ms": LONGEST_MS,
    "this_epoch": THIS_EPOCH,
    "watched_ms": WATCHED_MS,
    "copied": COPIED,
    "planned": PLANNED,
    "operations": OPERATIONS,
    "view_columns": VIEW_COLUMNS,
    "view_from": VIEW_FROM,
    "beat": BEAT,
    "clock_ms": CLOCK_MS,
    "standing_after_end": STANDING_AFTER_END,
    "settled_here": SETTLED_HERE,
    "holder_lives": HOLDER_LIVES,
    "holds_fence": HOLDS_FENCE,
    "free_tokens": FREE_TOKENS,
    **task_columns.FRAGMENTS,
}


@cache
def named(statement: LiteralString, schema: str) -> bytes:
    """Return the statement with the quoted schema and the fragments it names, composed once."""
    parts: dict[str, sql.Composable] = {"schema": sql.Identifier(schema)}
    # In this order a fragment names only those before it.
    for name, fragment in _FRAGMENTS.items():
        parts[name] = sql.SQL(fragment).format(**parts)
    return sql.SQL(statement).format(**parts).as_bytes(None)

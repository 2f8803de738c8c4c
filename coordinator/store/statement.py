"""How a statement gets its schema, and the fragments that several statements share.

A statement is a constant beside its only user. Braces name what is put in once per schema: {schema}
itself and the fragments below; values are always bound parameters.
"""

from __future__ import annotations

from functools import cache
from typing import LiteralString

from psycopg import sql

#: Read anew in every answer: a pooler may have moved us to another server. The WAL file's name is
#: right at once after a promotion, needs no privilege, and cannot be had from a standby.
SERVER: LiteralString = """
    SELECT
        ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS timeline,
        (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started_at
"""

#: One row of health_check, called `node`, to be read by `view.node_seen`.
NODE_COLUMNS: LiteralString = """
    node.session::text,
    node.beat,
    node.liveness_ms,
    node.ended_at IS NOT NULL OR node.session IS NULL,
    greatest(0, extract(epoch FROM clock_timestamp() - node.last_heartbeat))::float8,
    node.heartbeat_ms,
    node.host,
    node.pid
"""

#: To be read by `view.view_of`. Nobody needs the longest interval once the epoch is settled.
VIEW_COLUMNS: LiteralString = """
    server.timeline,
    server.started_at,
    coalesce(epoch.settled, false),
    CASE
        WHEN epoch.settled THEN 0
        ELSE coalesce((SELECT max(liveness_ms) FROM {schema}.health_check), 0)
    END,
    record.version,
    token.term,
    token.task_id,
    token.session::text,
    token.term_floor,
    node.task_id,
    {node_columns}
"""

#: Needs a relation `server` and the parameters system and group.
VIEW_FROM: LiteralString = """
    FROM server
    LEFT JOIN {schema}.database_epoch AS epoch
        ON epoch.system_identifier = %(system)s AND epoch.timeline = server.timeline
    LEFT JOIN {schema}.group_record AS record ON record.group_id = %(group)s
    LEFT JOIN {schema}.token_holder AS token ON token.group_id = %(group)s
    LEFT JOIN {schema}.health_check AS node
        ON node.group_id = %(group)s AND node.task_id = token.task_id
"""


@cache
def named(statement: LiteralString, schema: str) -> bytes:
    """Return the statement with the quoted schema and the fragments it names, composed once."""
    quoted = sql.Identifier(schema)
    node_columns = sql.SQL(NODE_COLUMNS)
    composed = sql.SQL(statement).format(
        schema=quoted,
        server=sql.SQL(SERVER),
        node_columns=node_columns,
        view_columns=sql.SQL(VIEW_COLUMNS).format(schema=quoted, node_columns=node_columns),
        view_from=sql.SQL(VIEW_FROM).format(schema=quoted),
    )
    return composed.as_bytes(None)

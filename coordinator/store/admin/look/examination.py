"""Questions of `coord doctor` to a server: settings, rights of the login, a trial of LISTEN."""

from __future__ import annotations

import uuid
from typing import LiteralString

from coordinator.store.admin.connection import AdminConnection, Row
from coordinator.store.schema.grants import NODE_FUNCTIONS, READ, TABLES

#: Settings as a session has them before coord sets its own.
SERVER: LiteralString = """
SELECT
    pg_is_in_recovery() AS in_recovery,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    coalesce((
        SELECT one.reset_val FROM pg_settings AS one WHERE one.name = 'synchronous_commit'
    ), '') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standby_names,
    coalesce((
        SELECT CAST(one.reset_val AS bigint) FROM pg_settings AS one
        WHERE one.name = 'idle_session_timeout'
    ), 0) AS idle_session_ms,
    CAST(current_setting('max_connections') AS integer)
        - CAST(current_setting('superuser_reserved_connections') AS integer) AS connections_max,
    (
        SELECT count(*) FROM pg_stat_activity AS backend
        WHERE backend.backend_type IS NULL OR backend.backend_type = 'client backend'
    ) AS connections_used,
    coalesce((
        SELECT secured.ssl FROM pg_stat_ssl AS secured WHERE secured.pid = pg_backend_pid()
    ), false) AS encrypted,
    inet_server_addr() IS NULL AS local,
    pg_backend_pid() AS pid,
    CAST(session_user AS text) AS role,
    (SELECT login.rolsuper FROM pg_roles AS login WHERE login.rolname = session_user) AS superuser
"""

#: Rights of a node that the login lacks; what does not exist is the schema's affair.
MISSING: LiteralString = """
SELECT wanted.privilege || ' on ' || wanted.name AS missing
FROM unnest(%(tables)s::text[], %(privileges)s::text[]) AS wanted (name, privilege)
WHERE to_regclass(format('%%I.%%I', %(schema)s::text, wanted.name)) IS NOT NULL
    AND NOT has_table_privilege(
        to_regclass(format('%%I.%%I', %(schema)s::text, wanted.name)), wanted.privilege
    )
UNION ALL
SELECT 'EXECUTE on ' || wanted.name
FROM unnest(%(functions)s::text[]) AS wanted (name)
WHERE to_regprocedure(format('%%I.%%s', %(schema)s::text, wanted.name)) IS NOT NULL
    AND NOT has_function_privilege(
        to_regprocedure(format('%%I.%%s', %(schema)s::text, wanted.name)), 'EXECUTE'
    )
ORDER BY 1
"""

#: The owner and those that bypass row level security are bound by no policy.
ADMITTED: LiteralString = """
SELECT
    row_security_active(class.oid) AS guarded,
    EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(CAST(%(group)s AS text), '/', 1)
    ) AS admitted
FROM pg_class AS class
WHERE class.oid = CAST(quote_ident(%(schema)s) || '.token_holder' AS regclass)
"""

TASKS: LiteralString = """
SELECT
    (SELECT record.hosts_tasks FROM {schema}.group_record AS record
     WHERE record.group_id = %(group)s) AS hosts_tasks,
    (SELECT count(*) FROM {schema}.task AS task
     WHERE task.group_id = %(group)s AND NOT task.deleted) AS tasks
"""

NOTIFY: LiteralString = "SELECT pg_notify(%(channel)s, '')"
#: From the sender's commit to the listener.
HEARD_WITHIN_S = 1.0


def server(database: AdminConnection) -> Row:
    """Return the facts about the server and the session."""
    (row,) = database.read(SERVER)
    left = row.pop("connections_max"), row.pop("connections_used")
    return row | {"connections_max": left[0], "connections_left": max(0, left[0] - left[1])}


def missing_rights(database: AdminConnection) -> list[str]:
    """Return the rights of a node that the login lacks."""
    wanted = [
        (table, privilege)
        for table, privileges in (*TABLES.items(), *((view, "SELECT") for view in READ))
        for privilege in privileges.split(", ")
    ]
    rows = database.read(
        MISSING,
        schema=database.schema,
        tables=[table for table, _ in wanted],
        privileges=[privilege for _, privilege in wanted],
        functions=list(NODE_FUNCTIONS),
    )
    return [row["missing"] for row in rows]


def admission(database: AdminConnection, group: str) -> Row:
    """Return whether row level security binds the login, and whether it may write for a group."""
    return database.read(ADMITTED, schema=database.schema, group=group)[0]


def group_kind(database: AdminConnection, group: str) -> Row:
    """Return whether a group spreads tasks, None without a group, and the number of its tasks."""
    return database.read(TASKS, group=group)[0]


def hears(listener: AdminConnection, sender: AdminConnection) -> bool:
    """Try on a channel of its own whether one session hears another's notification."""
    channel = f"coord_{uuid.uuid4().hex}"
    listener.listen(channel)
    sender.read(NOTIFY, channel=channel)
    return listener.wait_for_news(HEARD_WITHIN_S)

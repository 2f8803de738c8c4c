"""Which role may write for which group: row level security, off until `coord db roles` turns it on.

Policies and trigger bind nobody whom row level security does not bind: not the owner of the
tables, not a superuser, and nobody at all until the script of `coord db roles` enables it.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: A role writes for the groups it was admitted to, and for the named tokens below them: the token
#: `orders/nightly` belongs to the group `orders`. The login counts, whatever SET ROLE says.
#: OFFSET 0 keeps the planner from hashing all groups of the role for one row.
ADMITTED_TO = """EXISTS (
        SELECT FROM {schema}.group_role AS admitted
        WHERE admitted.role_name = CAST(session_user AS text)
            AND admitted.group_id = split_part(<table>.group_id, '/', 1)
        OFFSET 0
    )"""

#: Other groups read how long a group has watched a server, so a role may write of the running one
#: alone: a row made in advance would have waited before its identity existed.
THIS_SERVER = """system_identifier = (
        SELECT control.system_identifier FROM pg_control_system() AS control
    )
    AND started_at = CAST(date_part('epoch', pg_postmaster_start_time()) * 1e6 AS bigint)
    AND timeline = CAST(CAST(
        'x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS bit(32)
    ) AS integer)"""

#: The wait that every node makes by its own clock, once more by the server's, less what two clocks
#: may differ in rate. A server's clock that was set back makes no one wait for longer than twice.
WAITED = """clock_timestamp() NOT BETWEEN first_seen_at
        AND first_seen_at + 0.8 * waited_ms * interval '1 millisecond'"""

#: Nothing is known of another run, and somebody was here from the start or nothing was ever taken.
FIRST_RUN = """NOT EXISTS (
            SELECT FROM {schema}.database_epoch AS other
            WHERE (other.system_identifier, other.timeline, other.started_at) IS DISTINCT FROM (
                database_epoch.system_identifier,
                database_epoch.timeline,
                database_epoch.started_at
            )
        )
        AND (
            EXISTS (SELECT FROM {schema}.database_epoch AS other WHERE other.settled)
            OR NOT EXISTS (SELECT FROM {schema}.token_history)
        )"""

#: Who starts the server says so, where no SQL and no setting can: coordinator/store/node/epoch.py.
IN_PLACE = """EXISTS (
            SELECT FROM pg_catalog.pg_settings AS setting
            WHERE setting.name = 'cluster_name'
                AND setting.setting = 'coord-in-place'
                AND setting.source = 'command line'
        )"""

#: Instead of a CHECK, which every heartbeat of everybody would pay for. Whose a row is stays as it
#: is: no role may write group_id.
BEATEN = """ WITH CHECK (
    last_heartbeat IS NULL
    OR last_heartbeat BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
)"""

#: What a node writes by its group, each with the commands that it needs there.
BY_GROUP = {
    "token_holder": ("INSERT", "UPDATE"),
    "health_check": ("INSERT", "UPDATE"),
    "group_record": ("INSERT", "UPDATE"),
    "token_history": ("UPDATE",),
    "event": ("INSERT",),
    "schedule": ("INSERT", "UPDATE"),
}
READABLE = (*BY_GROUP, "database_epoch")

TABLE = """
CREATE TABLE {schema}.group_role (
    role_name text COLLATE "C" NOT NULL,
    group_id text COLLATE "C" NOT NULL,
    CONSTRAINT group_role_pkey PRIMARY KEY (role_name, group_id),
    CONSTRAINT group_role_group_id_check CHECK (
        length(group_id) <= 256 AND group_id ~ '^[A-Za-z0-9_.:@-]+$'
    )
)
"""

HISTORY = f"""
CREATE POLICY coord_insert ON {{schema}}.token_history FOR INSERT WITH CHECK (
    {ADMITTED_TO.replace("<table>", "token_history")}
    AND EXISTS (
        SELECT FROM {{schema}}.token_holder AS token
        WHERE token.group_id = token_history.group_id
            AND token.term = token_history.term
            AND token.session = token_history.session
            AND token.task_id = token_history.task_id
    )
)
"""

EPOCH = (
    f"""
CREATE POLICY coord_insert ON {{schema}}.database_epoch FOR INSERT WITH CHECK (
    {ADMITTED_TO.replace("<table>", "database_epoch")}
    AND {THIS_SERVER}
    AND (
        NOT settled AND (NOT first_branch OR timeline = 1)
        OR timeline = 1 AND {FIRST_RUN}
        OR {IN_PLACE}
    )
    AND waited_ms = 0
)
""",
    f"""
CREATE POLICY coord_update ON {{schema}}.database_epoch FOR UPDATE
USING ({ADMITTED_TO.replace("<table>", "database_epoch")} AND {THIS_SERVER})
WITH CHECK ({WAITED})
""",
)

TOKEN = (
    """
CREATE FUNCTION {schema}.coord_guard_token() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $coord$
DECLARE
    v_refusal text;
BEGIN
    IF NEW.term < OLD.term OR NEW.term_floor < OLD.term_floor THEN
        v_refusal := 'a term never falls';
    ELSIF NEW.session IS NULL OR NEW.session IS NOT DISTINCT FROM OLD.session THEN
        IF NEW.term <> OLD.term THEN
            v_refusal := 'a term rises with a new holding only';
        END IF;
    ELSIF NEW.term <= greatest(OLD.term, OLD.term_floor) THEN
        v_refusal := 'a new holding needs a new term';
    ELSIF EXISTS (
        SELECT FROM {schema}.health_check AS node
        WHERE node.group_id = OLD.group_id
            AND node.task_id = OLD.task_id
            AND node.session = OLD.session
            AND node.ended_at IS NULL
    ) THEN
        v_refusal := 'the session of its holder lives';
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'the token of ' || quote_literal(OLD.group_id) || ' may not be changed so: '
                || v_refusal;
    END IF;
    RETURN NEW;
END
$coord$
""",
    """
CREATE TRIGGER coord_guard_token BEFORE UPDATE ON {schema}.token_holder
FOR EACH ROW
WHEN (row_security_active(CAST('{schema_in_text}.token_holder' AS regclass)))
EXECUTE FUNCTION {schema}.coord_guard_token()
""",
    "REVOKE EXECUTE ON FUNCTION {schema}.coord_guard_token() FROM PUBLIC",
)


def policies() -> list[str]:
    """Return one policy for each table and command; a command without one is refused."""
    made = [
        f"CREATE POLICY coord_select ON {{schema}}.{table} FOR SELECT USING (true)"
        for table in READABLE
    ]
    for table, commands in BY_GROUP.items():
        for command in commands:
            rule = "WITH CHECK" if command == "INSERT" else "USING"
            made.append(
                f"CREATE POLICY coord_{command.lower()} ON {{schema}}.{table}"
                f" FOR {command} {rule} (\n    {ADMITTED_TO.replace('<table>', table)}\n)"
                + (BEATEN if (table, command) == ("health_check", "UPDATE") else "")
            )
    return [*made, HISTORY, *EPOCH]


def drops() -> list[str]:
    """Return what undoes it all; row level security without a policy would refuse everything."""
    dropped = [f"ALTER TABLE {{schema}}.{table} DISABLE ROW LEVEL SECURITY" for table in READABLE]
    for policy in policies():
        _, _, name, _, table, *_ = policy.split()
        dropped.append(f"DROP POLICY {name} ON {table}")
    return [
        *dropped,
        "DROP TRIGGER coord_guard_token ON {schema}.token_holder",
        "DROP FUNCTION {schema}.coord_guard_token()",
        "DROP TABLE {schema}.group_role",
    ]


def upgrade() -> None:
    _execute([TABLE, *policies(), *TOKEN])


def downgrade() -> None:
    _execute(drops())


def _execute(statements: list[str]) -> None:
    """Run the statements in the schema that the caller of alembic named."""
    schema: str = context.config.attributes["schema"]
    quoted = '"' + schema.replace('"', '""') + '"'
    in_text = quoted.replace("'", "''")
    for statement in statements:
        ddl = statement.replace("{schema}", quoted).replace("{schema_in_text}", in_text)
        op.execute(sa.text(ddl.replace(":", r"\:")))

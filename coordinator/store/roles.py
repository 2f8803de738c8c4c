"""The script that gives a database roles with least privileges; a superuser runs it.

  owner                 owns the tables, logs in nowhere; migrations run as it
  node                  what a running node does, for the groups that its login was admitted to
  reader                looks
  system_administrator  looks, and admits logins to groups

Which columns a node may touch is said here. Whose rows they are is said by the policies of the
migrations, which the script turns on. docs/adr/0006 has the reasons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from psycopg import sql

from coordinator.store.grants import FENCE, VIEWS
from coordinator.store.migrate import SCHEMA_HEAD

#: Needs no quotes anywhere, and leaves room for the longest name below.
PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,30}")
ROLES = ("owner", "node", "reader", "system_administrator")
#: Others meet a locked table while the script waits for its own lock on it.
LOCK_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The columns of one table that a node reads and writes; "*" is all, "" none."""

    select: str = "*"
    insert: str = ""
    update: str = ""


#: Nobody deletes. No table is granted whole where writing is concerned: who may update a whole
#: table may lock it, and so stop every group.
NODE: dict[str, Needs] = {
    "token_holder": Needs(
        insert="group_id", update="task_id, session, term, acquired_at, released_at, term_floor"
    ),
    "health_check": Needs(
        insert="group_id, task_id",
        update="session, beat, last_heartbeat, liveness_ms, lease_ms, heartbeat_ms, ended_at,"
        " end_reason, priority, host, pid, version, config_hash, isolation, joined_at, started_at",
    ),
    "group_record": Needs(insert="group_id", update="version"),
    "token_history": Needs(
        select="group_id, term, ended_at",
        insert="group_id, term, task_id, session, acquired_at, how, reason, from_task, gap_ms,"
        " detected_ms",
        update="ended_at, end_how, end_reason",
    ),
    "database_epoch": Needs(
        insert="system_identifier, timeline, settled, settled_by, settled_at",
        update="settled, settled_by, settled_at",
    ),
    "event": Needs(select="", insert="group_id, kind, task_id, session, term, reason, who"),
    # Not last_error: it is a program's own text, and the groups of others are in this table too.
    "schedule": Needs(
        select="group_id, name, fired_count, last_fire_at, skipped_count, ended, end_reason, term",
        insert="group_id, name, updated_at",
        update="fired_count, last_fire_at, last_finished_at, last_outcome, last_error,"
        " last_duration_ms, skipped_count, next_fire_at, ended, end_reason, term, updated_at",
    ),
    "group_role": Needs(),
    "alembic_version": Needs(),
}
TABLES = tuple(NODE)
#: What has no policies: one of them decides who is admitted, the other says the revision.
UNGUARDED = ("group_role", "alembic_version")


def roles_for(schema: str, prefix: str, group: str) -> list[str]:
    """Return the script, line by line; it may be run again, and must be after each migration.

    `group` is the one in the examples at the end.
    """
    home = sql.Identifier(schema).as_string(None)
    names = {role: f"{prefix}_{role}" for role in ROLES}
    quoted = {role: sql.Identifier(name).as_string(None) for role, name in names.items()}
    return [
        f"-- Least privileges for coord in schema {home}, revision {SCHEMA_HEAD}. Run it as a",
        "-- superuser with `psql -f`, and again after each `coord db upgrade`.",
        "BEGIN;",
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';",
        *(line for name in names.values() for line in _create(name)),
        "",
        *_belongings(schema, home, quoted),
        "",
        *_revocations(home, quoted),
        "",
        *_node(home, quoted["node"]),
        "",
        *_reader(home, quoted),
        "COMMIT;",
        "",
        *_examples(home, names, quoted, group),
    ]


def _create(name: str) -> list[str]:
    role = sql.Identifier(name).as_string(None)
    text = sql.Literal(name).as_string(None)
    return [
        "DO $coord$ BEGIN",
        f"  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {text}) THEN",
        f"    CREATE ROLE {role} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;",
        "  END IF;",
        "END $coord$;",
    ]


def _belongings(schema: str, home: str, quoted: dict[str, str]) -> list[str]:
    """Give everything to the owner, and turn row level security on."""
    owner = quoted["owner"]
    if schema == "public":
        # It has other inhabitants, so it stays whose it is.
        lines = [f"GRANT USAGE, CREATE ON SCHEMA {home} TO {owner};"]
    else:
        lines = [
            f"ALTER SCHEMA {home} OWNER TO {owner};",
            f"REVOKE ALL ON SCHEMA {home} FROM PUBLIC;",
        ]
    lines += [f"ALTER TABLE {home}.{table} OWNER TO {owner};" for table in TABLES]
    lines += [f"ALTER VIEW {home}.{view} OWNER TO {owner};" for view in VIEWS]
    lines += [
        f"ALTER FUNCTION {home}.{function} OWNER TO {owner};"
        for function in (FENCE, "coord_guard_token()")
    ]
    guarded = [table for table in TABLES if table not in UNGUARDED]
    return lines + [f"ALTER TABLE {home}.{table} ENABLE ROW LEVEL SECURITY;" for table in guarded]


def _revocations(home: str, quoted: dict[str, str]) -> list[str]:
    """Begin with nothing, whatever an earlier script or somebody by hand has granted."""
    others = ", ".join(["PUBLIC", *(name for role, name in quoted.items() if role != "owner")])
    lines = [f"REVOKE ALL ON {home}.{relation} FROM {others};" for relation in (*TABLES, *VIEWS)]
    return [*lines, f"REVOKE ALL ON FUNCTION {home}.{FENCE} FROM {others};"]


def _node(home: str, node: str) -> list[str]:
    lines = [f"GRANT USAGE ON SCHEMA {home} TO {node};"]
    for table, needs in NODE.items():
        granted = [
            verb if columns == "*" else f"{verb} ({columns})"
            for verb, columns in (
                ("SELECT", needs.select),
                ("INSERT", needs.insert),
                ("UPDATE", needs.update),
            )
            if columns
        ]
        lines.append(f"GRANT {', '.join(granted)} ON {home}.{table} TO {node};")
    lines += [f"GRANT SELECT ON {home}.{view} TO {node};" for view in VIEWS]
    return [*lines, f"GRANT EXECUTE ON FUNCTION {home}.{FENCE} TO {node};"]


def _reader(home: str, quoted: dict[str, str]) -> list[str]:
    administrator = quoted["system_administrator"]
    both = f"{quoted['reader']}, {administrator}"
    return [
        f"GRANT USAGE ON SCHEMA {home} TO {both};",
        *(f"GRANT SELECT ON {home}.{relation} TO {both};" for relation in (*TABLES, *VIEWS)),
        f"GRANT INSERT, DELETE ON {home}.group_role TO {administrator};",
    ]


def _examples(home: str, names: dict[str, str], quoted: dict[str, str], group: str) -> list[str]:
    """Show what is left to do, as comments: the logins, whose passwords are not ours to know."""
    login = f"{group}_node"
    known = sql.Identifier(login).as_string(None)
    row = f"VALUES ({sql.Literal(login).as_string(None)}, {sql.Literal(group).as_string(None)})"
    admit = "INSERT INTO {home}.group_role (role_name, group_id) {row};"
    return [
        "-- Then one login for the nodes of each group; its password goes into ~/.pgpass:",
        f"--   CREATE ROLE {known} LOGIN IN ROLE {quoted['node']};",
        f"--   \\password {known}",
        f"--   {admit.format(home=home, row=row)}",
        f"-- and for people: CREATE ROLE ana LOGIN IN ROLE {quoted['reader']};",
        "-- From now on migrations run as the owner:",
        f"--   PGOPTIONS='-c role={names['owner']}' coord db upgrade",
    ]

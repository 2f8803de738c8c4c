"""The script that gives a database roles with least privileges; a superuser runs it.

  owner                 owns the tables, logs in nowhere; migrations run as it
  node                  what a running node does, for the groups that its login was admitted to
  reader                looks
  system_administrator  looks, admits logins to groups, defines tasks, evicts dead nodes

Only the last one defines tasks. A definition is a command, or a function's name, that every node of
the group runs as its own user: a login that may write one may run anything there. So a node's login
may not write any, not even in its own group: the tasks of a node's file exist already, or an
administrator defines them with `coord task`. All that a node does to a definition is to mark it as
finished.

Which columns a node may touch is said here. Whose rows they are is said by the policies of the
migrations, which the script turns on. docs/adr/0006 has the reasons.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from psycopg import sql

from coordinator.store.schema import retention
from coordinator.store.schema.aliases import for_each_alias
from coordinator.store.schema.grants import (
    NODE_FUNCTIONS,
    READ_FUNCTIONS,
    VIEWS,
    VIEWS_FOR_PEOPLE,
    alias_grants,
)
from coordinator.store.schema.migrate import SCHEMA_HEAD
from coordinator.store.schema.operations import rights as operations
from coordinator.store.schema.operations.doors import for_each_door
from coordinator.store.schema.planned import rights as planned
from coordinator.store.schema.segments import rights as segments
from coordinator.store.schema.webhook import rights as webhook

#: Needs no quotes anywhere, and is short enough for the longest name below.
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


#: Nobody deletes, and nothing is granted whole for writing: who may update all columns may lock.
NODE: dict[str, Needs] = {
    "token_holder": Needs(
        insert="group_id",
        update="task_id, session, term, acquired_at, released_at, term_floor, taken_version,"
        " base_version, base_node, base_taken_version",
    ),
    "health_check": Needs(
        insert="group_id, task_id",
        update="session, beat, last_heartbeat, liveness_ms, lease_ms, heartbeat_ms, ended_at, host,"
        " end_reason, priority, pid, address, version, config_hash, isolation, joined_at, standing,"
        " started_at, caught_up, seen_version, standing_version, hosts_tasks, capacity, ready,"
        " clock_ms, file_liveness_ms",
    ),
    "group_record": Needs(
        insert="group_id",
        update="version, hosts_tasks, spread_version, settled_branch, settled_start,"
        " terms_by_clock",
    ),
    "token_history": Needs(
        select="group_id, term, ended_at, active_until, end_reason",
        insert="group_id, term, task_id, session, acquired_at, how, reason, from_task, detected_ms",
        update="ended_at, active_until, end_how, end_reason",
    ),
    "database_epoch": Needs(
        insert="group_id, system_identifier, timeline, started_at, branch, first_branch, settled,"
        " settled_by, settled_at",
        update="waited_ms, settled_by, settled_at",
    ),
    "event": Needs(select="", insert="group_id, kind, task_id, session, term, reason, who"),
    # Not last_error: it is a program's own text, and the groups of others are in this table too.
    "schedule": Needs(
        select="group_id, name, fired_count, last_fire_at, last_outcome, skipped_count, ended,"
        " end_reason, terminated_at, term, ok_count, failed_count, stopped_count, died_count,"
        " denied_count, last_finished_at, reserved_slot, reserved_by, reserved_until",
        insert="group_id, name, updated_at",
        update="fired_count, last_fire_at, last_finished_at, last_outcome, last_error,"
        " last_duration_ms, skipped_count, next_fire_at, ended, end_reason, terminated_at, term,"
        " updated_at, ok_count, failed_count, stopped_count, died_count, denied_count,"
        " reserved_slot, reserved_by, reserved_until",
    ),
    "task": Needs(update="enabled, end_reason, changed_at, changed_by"),
    "task_node": Needs(
        insert="group_id, task, node, state, term, error, told_at, failed_count",
        update="state, term, error, told_at, failed_count",
    ),
    "token_state": Needs(
        insert="group_id, slot, sequence, term, session, node, saved_at, content",
        update="sequence, term, session, node, saved_at, content",
    ),
    "observer_decision": Needs(
        select="", insert="group_id, version, observer, term, node, kind, before, after, reason"
    ),
    planned.TABLE: Needs(update=planned.ENDING),
    **{
        table: Needs(select=select, insert=insert, update=update)
        for table, (select, insert, update) in segments.NODE.items()
    },
    **dict.fromkeys(("group_role", "coord_version", *operations.TABLES, webhook.TABLE), Needs()),
}
TABLES = tuple(NODE)
#: Functions of triggers.
_GUARDS = ("coord_guard_token()", "coord_refuse_name()", "coord_refuse_clash()")
TRIGGER_FUNCTIONS = (*_GUARDS, "coord_restore_token()", *planned.TRIGGER_FUNCTIONS)
PEOPLE_FUNCTIONS = (*planned.ADMINISTRATOR_FUNCTIONS, *retention.FUNCTIONS)
OTHERS = (*TRIGGER_FUNCTIONS, *operations.FUNCTIONS, *PEOPLE_FUNCTIONS, *webhook.FUNCTIONS)
FUNCTIONS = tuple(dict.fromkeys((*NODE_FUNCTIONS, *OTHERS)))
#: Tables without policies: one decides which logins are admitted, the other has the revision.
UNGUARDED = ("group_role", "coord_version")
#: Columns that an administrator writes, of any group: lists, or "" for the whole row.
ADMINISTRATOR: dict[str, dict[str, str]] = {
    "group_role": {"INSERT": "", "DELETE": ""},
    "task": {"INSERT": "", "UPDATE": ""},
    "task_node": {"UPDATE": "failed_count", "DELETE": ""},
    "token_holder": {"INSERT": "group_id"},
    "health_check": {"DELETE": ""},
    "group_record": {
        "INSERT": "group_id",
        "UPDATE": "version, suspended_at, suspended_by, suspend_reason, to_member_ms, late_max,"
        " late_within_ms, observer_grace_ms, spread_version",
    },
    "event": {"INSERT": "group_id, kind, task_id, reason, who"},
    planned.TABLE: {"INSERT": planned.ASKING, "UPDATE": planned.ENDING},
}
#: Tables that only the group's logins and people may read.
PRIVATE = ("task", "task_node", "token_state", *segments.SHOWN)
#: A node's row may be deleted when its session is over.
ROW_THAT_MAY_GO = (
    "session IS NULL OR ended_at IS NOT NULL"
    " OR last_heartbeat < clock_timestamp() - liveness_ms * interval '1 ms'"
)


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
        "-- A role that nodes use now loses its rights at once, unless it owns the tables or is a",
        "-- superuser: make each group's login first (see the end), or do it while no node runs.",
        "BEGIN;",
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';",
        *(line for name in names.values() for line in _create(name)),
        "",
        *_belongings(schema, home, quoted),
        "",
        *_revocations(schema, home, quoted),
        "",
        *_node(schema, home, quoted["node"]),
        "",
        *_people(schema, home, quoted),
        "",
        *_policies(home, quoted),
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
        # It has other inhabitants, so it stays whose it is. Who may create there could make a
        # function of ours once more, for other types of arguments.
        lines = [
            f"GRANT USAGE, CREATE ON SCHEMA {home} TO {owner};",
            f"REVOKE CREATE ON SCHEMA {home} FROM PUBLIC;",
        ]
    else:
        lines = [
            f"ALTER SCHEMA {home} OWNER TO {owner};",
            f"REVOKE ALL ON SCHEMA {home} FROM PUBLIC;",
        ]
    lines += [f"ALTER TABLE {home}.{table} OWNER TO {owner};" for table in TABLES]
    lines += [f"ALTER VIEW {view} OWNER TO {owner};" for view in _views(home)]
    lines += [f"ALTER FUNCTION {home}.{name} OWNER TO {owner};" for name in FUNCTIONS]
    owned = _format(owner)
    lines.append(
        for_each_alias(
            schema,
            f"GRANT USAGE, CREATE ON SCHEMA %1$I TO {owned}",
            f"ALTER VIEW %1$I.%2$I OWNER TO {owned}",
        )
    )
    lines.append(for_each_door(schema, f"ALTER FUNCTION %1$s OWNER TO {owned}"))
    guarded = [table for table in TABLES if table not in UNGUARDED]
    return lines + [f"ALTER TABLE {home}.{table} ENABLE ROW LEVEL SECURITY;" for table in guarded]


def _revocations(schema: str, home: str, quoted: dict[str, str]) -> list[str]:
    """Begin with nothing, whatever an earlier script or somebody by hand has granted."""
    others = ", ".join(["PUBLIC", *(name for role, name in quoted.items() if role != "owner")])
    relations = (*(f"{home}.{table}" for table in TABLES), *_views(home))
    lines = [f"REVOKE ALL ON {relation} FROM {others};" for relation in relations]
    lines.append(for_each_alias(schema, f"REVOKE ALL ON %1$I.%2$I FROM {_format(others)}"))
    return lines + [f"REVOKE ALL ON FUNCTION {home}.{name} FROM {others};" for name in FUNCTIONS]


def _node(schema: str, home: str, node: str) -> list[str]:
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
    lines += [f"GRANT SELECT ON {view} TO {node};" for view in _views(home)]
    lines += [f"GRANT EXECUTE ON FUNCTION {home}.{name} TO {node};" for name in NODE_FUNCTIONS]
    return [*lines, for_each_alias(schema, *alias_grants(node))]


def _people(schema: str, home: str, quoted: dict[str, str]) -> list[str]:
    administrator = quoted["system_administrator"]
    both = f"{quoted['reader']}, {administrator}"
    shown = [table for table in TABLES if table not in segments.SECRET]
    relations = (*(f"{home}.{table}" for table in shown), *_views(home))
    lines = [
        f"GRANT USAGE ON SCHEMA {home} TO {both};",
        *(f"GRANT SELECT ON {relation} TO {both};" for relation in relations),
        *(f"GRANT EXECUTE ON FUNCTION {home}.{name} TO {both};" for name in READ_FUNCTIONS),
        for_each_alias(schema, *alias_grants(both)),
    ]
    called = (*operations.ADMINISTRATOR_FUNCTIONS, *planned.ASKING_FUNCTIONS, *PEOPLE_FUNCTIONS)
    lines += [f"GRANT EXECUTE ON FUNCTION {home}.{name} TO {administrator};" for name in called]
    for table, verbs in ADMINISTRATOR.items():
        granted = [f"{verb} ({columns})" if columns else verb for verb, columns in verbs.items()]
        lines.append(f"GRANT {', '.join(granted)} ON {home}.{table} TO {administrator};")
    return lines


def _policies(home: str, quoted: dict[str, str]) -> list[str]:
    """Say whose rows people may touch: those of the migrations name groups, and not roles."""
    administrator = quoted["system_administrator"]
    both = f"{quoted['reader']}, {administrator}"
    made = [
        (table, "coord_people_select", f"FOR SELECT TO {both} USING (true)") for table in PRIVATE
    ]
    for table, verbs in ADMINISTRATOR.items():
        if table in UNGUARDED:
            continue
        for verb in verbs:
            which = ROW_THAT_MAY_GO if (table, verb) == ("health_check", "DELETE") else "true"
            rule = f"WITH CHECK ({which})" if verb == "INSERT" else f"USING ({which})"
            name = f"coord_administrator_{verb.lower()}"
            made.append((table, name, f"FOR {verb} TO {administrator} {rule}"))
    return [
        line
        for table, name, rest in made
        for line in (
            f"DROP POLICY IF EXISTS {name} ON {home}.{table};",
            f"CREATE POLICY {name} ON {home}.{table} {rest};",
        )
    ]


def _views(home: str) -> list[str]:
    return [f"{home}.{view}" for view in (*VIEWS, *VIEWS_FOR_PEOPLE)]


def _format(text: str) -> str:
    """Return a text as format() takes it."""
    return text.replace("%", "%%")


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

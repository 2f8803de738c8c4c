"""The privileges that a role needs on tables that belong to another."""

from __future__ import annotations

from psycopg import sql

from coordinator.store.schema import retention
from coordinator.store.schema.aliases import PEOPLE_VIEWS, for_each_alias
from coordinator.store.schema.operations import rights as operations
from coordinator.store.schema.planned import rights as planned
from coordinator.store.schema.segments import rights as segments
from coordinator.store.schema.webhook import rights as webhook

#: Rights of a running node on each table. Only functions delete, and only what has expired.
TABLES = {
    "token_holder": "SELECT, INSERT, UPDATE",
    "health_check": "SELECT, INSERT, UPDATE",
    "group_record": "SELECT, INSERT, UPDATE",
    "token_history": "SELECT, INSERT, UPDATE",
    "database_epoch": "SELECT, INSERT, UPDATE",
    "schedule": "SELECT, INSERT, UPDATE",
    "event": "SELECT, INSERT",
    "task": "SELECT, INSERT, UPDATE",
    "task_node": "SELECT, INSERT, UPDATE",
    "token_state": "SELECT, INSERT, UPDATE",
    "observer_decision": "SELECT, INSERT",
    **segments.privileges(),
    **dict.fromkeys(operations.TABLES, "SELECT"),
    planned.TABLE: "SELECT, INSERT, UPDATE",
    webhook.TABLE: "SELECT",
}
VIEWS = ("coord_status", "coord_nodes", "coord_history")
#: Views that people read under other names, too.
VIEWS_FOR_PEOPLE = tuple(f"sys_{view}" for view in PEOPLE_VIEWS)
#: Once the script of `coord db roles` was run, group_role says who writes for which group.
READ = ("coord_version", "group_role", *VIEWS, *VIEWS_FOR_PEOPLE)
#: Functions that views call with the reader's rights, and those that read a state.
READ_FUNCTIONS = (
    "coord_last_error(text, text, text)",
    "coord_read_cursor(text, text)",
    "coord_read_state(text)",
)
#: Functions that a holder's program calls in its own transactions.
HOLDER_FUNCTIONS = (
    "coord_fence(text, bigint, uuid)",
    "coord_save_cursor(text, text, bigint, uuid, jsonb)",
    "coord_save_state(text, bigint, uuid, bytea)",
)
#: Functions that a running node calls to take and release, with its own rights.
RACE_FUNCTIONS = (
    "coord_view(bigint, text, text)",
    "coord_raise_version(text, text, boolean)",
    "coord_term_clock(bigint, uuid, text)",
    "coord_granted_term(text, bigint, bigint, bigint, bigint)",
    "coord_take(bigint, uuid, text, text, text, uuid, text, uuid, bigint, bigint, bigint, text,"
    " text, bigint, text, boolean, boolean)",
    "coord_give_back(text, text, uuid, bigint, text, text, boolean, bigint, bigint)",
    "coord_release(bigint, text, text, text, uuid, bigint, text, text, boolean, bigint, bigint)",
    "coord_leave(bigint, text, text, text, uuid, text, text, boolean, boolean, bigint, bigint)",
    "coord_exchange(bigint, uuid, text, text, uuid, text, boolean, text[], text[], bigint[],"
    " text[], bigint[], text[], bigint[], text[], uuid[], bigint[], bigint[], text[], boolean)",
)
#: Functions that a running node and its programs call.
NODE_FUNCTIONS = (
    *(*READ_FUNCTIONS, *HOLDER_FUNCTIONS, *RACE_FUNCTIONS),
    *segments.NODE_FUNCTIONS,
    *operations.NODE_FUNCTIONS,
    *planned.NODE_FUNCTIONS,
    *retention.NODE_FUNCTIONS,
    *webhook.NODE_FUNCTIONS,
)


def grants_for(schema: str, role: str, *, read_only: bool = False) -> list[str]:
    """Return the statements, one a line; `role` may be anything that can be quoted."""
    home = sql.Identifier(schema).as_string(None)
    whom = sql.Identifier(role).as_string(None)
    lines = [f"GRANT USAGE ON SCHEMA {home} TO {whom};"]
    for table, privileges in TABLES.items():
        if read_only and table in segments.SECRET:
            continue
        granted = "SELECT" if read_only else privileges
        lines.append(f"GRANT {granted} ON {home}.{table} TO {whom};")
    lines += [f"GRANT SELECT ON {home}.{relation} TO {whom};" for relation in READ]
    functions = READ_FUNCTIONS if read_only else (*NODE_FUNCTIONS, *planned.ADMINISTRATOR_FUNCTIONS)
    lines += [f"GRANT EXECUTE ON FUNCTION {home}.{name} TO {whom};" for name in functions]
    return [*lines, for_each_alias(schema, *alias_grants(whom))]


def alias_grants(whom: str) -> tuple[str, ...]:
    """Return what lets roles, already quoted, read each of the views outside our schema."""
    whom = whom.replace("%", "%%")
    return (f"GRANT USAGE ON SCHEMA %1$I TO {whom}", f"GRANT SELECT ON %1$I.%2$I TO {whom}")

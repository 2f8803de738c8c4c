"""The privileges that a role needs on tables that belong to another."""

from __future__ import annotations

from psycopg import sql

#: What a running node does with each table; nothing is ever deleted.
TABLES = {
    "token_holder": "SELECT, INSERT, UPDATE",
    "health_check": "SELECT, INSERT, UPDATE",
    "group_record": "SELECT, INSERT, UPDATE",
    "token_history": "SELECT, INSERT, UPDATE",
    "database_epoch": "SELECT, INSERT, UPDATE",
    "schedule": "SELECT, INSERT, UPDATE",
    "event": "SELECT, INSERT",
}
VIEWS = ("coord_status", "coord_nodes", "coord_history")
#: Once the script of `coord db roles` was run, group_role says who writes for which group.
READ = ("alembic_version", "group_role", *VIEWS)
FENCE = "coord_fence(text, bigint, uuid)"


def grants_for(schema: str, role: str, *, read_only: bool = False) -> list[str]:
    """Return the statements, one a line; `role` may be anything that can be quoted."""
    home = sql.Identifier(schema).as_string(None)
    whom = sql.Identifier(role).as_string(None)
    lines = [f"GRANT USAGE ON SCHEMA {home} TO {whom};"]
    for table, privileges in TABLES.items():
        granted = "SELECT" if read_only else privileges
        lines.append(f"GRANT {granted} ON {home}.{table} TO {whom};")
    lines += [f"GRANT SELECT ON {home}.{relation} TO {whom};" for relation in READ]
    if not read_only:
        lines.append(f"GRANT EXECUTE ON FUNCTION {home}.{FENCE} TO {whom};")
    return lines

"""The schema of coord 0.1.0, made by the SQL files in migrations/sql.

A later revision brings SQL of its own: after a release these files stay as they are.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import context, op

from coordinator.store.schema.aliases import for_each_alias
from coordinator.store.schema.operations.doors import for_each_door

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"
#: In the order of creation: views need a function, triggers and policies need the tables.
FILES = (
    *(
        "tables",
        "task_tables",
        "planned",
        "planned_look",
        "interval",
        "functions",
        "state",
        "race",
        "holders",
        "views",
    ),
    *("guards", "policies"),
    *("segment_tables", "segment_functions", "segment_views"),
    *(
        "operation_tables",
        "operation_statements",
        "operation_functions",
        "operation_ends",
        "operation_hung",
    ),
    *("operation_views", "webhook", "retention", "asked_runs"),
)


def upgrade() -> None:
    for name in FILES:
        _execute(name)


def downgrade() -> None:
    aliases = for_each_alias(context.config.attributes["schema"], "DROP VIEW %1$I.%2$I")
    op.execute(sa.text(aliases.replace(":", r"\:")))
    doors = for_each_door(context.config.attributes["schema"], "DROP FUNCTION %1$s")
    op.execute(sa.text(doors.replace(":", r"\:")))
    _execute("drop")


def _execute(name: str) -> None:
    """Run a file as one query, in the schema that the caller of alembic named.

    `{schema}` stands for the quoted name of the schema, `{schema_text}` for the name as an SQL
    text, `{schema_in_text}` for the quoted name inside an SQL text. No file has a percent sign:
    offline, alembic would double it.
    """
    schema: str = context.config.attributes["schema"]
    quoted = '"' + schema.replace('"', '""') + '"'
    names = {
        "{schema}": quoted,
        "{schema_text}": "'" + schema.replace("'", "''") + "'",
        "{schema_in_text}": quoted.replace("'", "''"),
    }
    text = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    ddl = re.sub(r"\{schema\w*\}", lambda place: names[place[0]], text)
    # Alembic ends a statement itself when it writes SQL.
    op.execute(sa.text(ddl.rstrip().removesuffix(";").replace(":", r"\:")))

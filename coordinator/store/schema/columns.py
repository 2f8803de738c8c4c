"""Shared by all tables: the placeholder of the schema, names, moments, and their list.

Every table carries the placeholder schema SCHEMA, which exists nowhere: a statement that was run
without `in_schema(...)` fails at once instead of landing in somebody's search_path.
"""

from __future__ import annotations

import sqlalchemy as sa

#: Stands for the real schema until execution: see `in_schema` and `metadata_for`.
SCHEMA = "coord_schema_placeholder"

#: Form of a groupId or taskId; the database refuses others. The length is checked separately:
#: PostgreSQL's regular expressions count to 255 only.
NAME_PATTERN = "^[A-Za-z0-9_.:@/-]+$"
NAME_LENGTH_MAX = 256
#: A task's name is the part of its token's name behind the group's.
TASK_PATTERN = "^[A-Za-z0-9.:@-][A-Za-z0-9_.:@-]*$"

#: Compared byte by byte: an index over names must survive a change of the system's collations,
#: because a token row that its own index does not find is a token that two nodes may hold.
NAME = sa.Text(collation="C")

SERVER_NOW = sa.func.clock_timestamp()
MOMENT = sa.DateTime(timezone=True)

metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    },
)


def in_schema(schema: str) -> dict[str | None, str | None]:
    """Return the schema_translate_map that puts our tables into `schema`."""
    return {SCHEMA: schema}


#: Moments that every reader can show; others are refused, and so is a text too long for a reader.
_SHOWN = "BETWEEN '0001-01-02 00:00:00+00'::timestamptz AND '9999-12-30 00:00:00+00'::timestamptz"
TEXT_BYTES_MAX = 1_000_000


def shown(moments: str, texts: str = "", name: str = "values") -> sa.CheckConstraint:
    """Return the check that people can be shown these columns."""
    rules = [f"{moment} {_SHOWN}" for moment in moments.split()]
    rules += [f"octet_length({text}) <= {TEXT_BYTES_MAX}" for text in texts.split()]
    return sa.CheckConstraint(" AND ".join(rules), name=name)

"""Views outside our schema, under names that people know: `sys.ongoing_tasks`, the origin's two.

Everything of ours lies in one schema. Beside it `sys` shows what people look for, and `public` the
two tables that the origin had there, read-only. The names may be somebody else's: then the view is
not made, and `coord db upgrade` and `coord doctor` say so. Nothing of ours reads these views.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from coordinator.store.schema.operations import rights as operations
from coordinator.store.schema.operations.doors import make_doors
from coordinator.store.schema.planned import rights as planned
from coordinator.store.schema.segments import rights as segments


@dataclass(frozen=True, slots=True)
class Alias:
    """One view: where it is, of which relation of our schema, and what it selects."""

    place: str
    name: str
    of: str
    query: LiteralString


#: A sub-select makes a view that nobody can write through.
_ALL: LiteralString = "SELECT * FROM (SELECT * FROM {of}) AS shown"
#: To the origin's users the row names who is active: after a release that is nobody.
_HOLDER: LiteralString = """SELECT
    shown.group_id,
    CASE WHEN shown.session IS NOT NULL THEN shown.task_id END AS task_id,
    shown.term,
    shown.session,
    shown.acquired_at,
    shown.released_at,
    shown.task_id AS last_task_id
FROM (SELECT * FROM {of}) AS shown"""

PEOPLE_VIEWS = (
    *("nodes", "ongoing_tasks", "task_nodes", "observer_decisions"),
    *segments.PEOPLE_VIEWS,
    *operations.PEOPLE_VIEWS,
    *planned.PEOPLE_VIEWS,
)
ALIASES = (
    *(Alias("sys", name, f"sys_{name}", _ALL) for name in PEOPLE_VIEWS),
    Alias("public", "token_holder", "token_holder", _HOLDER),
    Alias("public", "health_check", "health_check", _ALL),
)

#: Another's relation, type or schema of that name, or a role that may not create there: no view.
_MAKE: LiteralString = """
DO $coord$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {place_text}) THEN
        CREATE SCHEMA {place};
    END IF;
    CREATE VIEW {place}.{name} AS
    {query};
EXCEPTION
    WHEN duplicate_table OR duplicate_object OR duplicate_schema OR unique_violation
        OR insufficient_privilege THEN NULL;
END
$coord$
"""

#: All that are ours: views of these names that read the relation of our schema.
_OURS: LiteralString = """
SELECT DISTINCT alias.place, alias.name
FROM unnest({places}, {names}, {relations}) AS alias (place, name, relation)
JOIN pg_catalog.pg_namespace AS there ON there.nspname = alias.place
JOIN pg_catalog.pg_class AS view ON view.relnamespace = there.oid AND view.relname = alias.name
JOIN pg_catalog.pg_rewrite AS rule ON rule.ev_class = view.oid
JOIN pg_catalog.pg_depend AS needs
    ON needs.classid = CAST('pg_catalog.pg_rewrite' AS pg_catalog.regclass)
    AND needs.objid = rule.oid
    AND needs.refclassid = CAST('pg_catalog.pg_class' AS pg_catalog.regclass)
JOIN pg_catalog.pg_class AS base ON base.oid = needs.refobjid AND base.relname = alias.relation
JOIN pg_catalog.pg_namespace AS home
    ON home.oid = base.relnamespace AND home.nspname = {schema_text}
WHERE view.relkind = 'v'
"""

_FOR_EACH: LiteralString = """
DECLARE
    ours record;
BEGIN
    FOR ours IN {ours} LOOP
        {statements}
    END LOOP;
END
"""

_NOT_OURS: LiteralString = """
SELECT alias.place, alias.name, alias.relation, EXISTS (
    SELECT FROM pg_catalog.pg_class AS other
    JOIN pg_catalog.pg_namespace AS there ON there.oid = other.relnamespace
    WHERE there.nspname = alias.place AND other.relname = alias.name
)
FROM unnest({places}, {names}, {relations}) AS alias (place, name, relation)
WHERE (alias.place, alias.name) NOT IN ({ours})
ORDER BY alias.place, alias.name
"""


_NEIGHBOURS: LiteralString = """
SELECT
    CAST(current_user AS text),
    coalesce(bool_or(pg_catalog.has_schema_privilege('public', home.oid, 'CREATE')), false)
FROM pg_catalog.pg_namespace AS home
WHERE home.nspname = %(schema)s
"""


def make_aliases(schema: str) -> list[str]:
    """Return the statements that make what is outside our schema; they may be run again.

    That is the views, and the functions that people call, as far as their names are free.
    """
    views = [
        sql.SQL(_MAKE)
        .format(
            place=sql.Identifier(alias.place),
            place_text=sql.Literal(alias.place),
            name=sql.Identifier(alias.name),
            query=sql.SQL(alias.query).format(of=sql.Identifier(schema, alias.of)),
        )
        .as_string(None)
        for alias in _aliases(schema)
    ]
    return views + make_doors(schema)


def for_each_alias(schema: str, *statements: str) -> str:
    """Return a block that executes statements for each view that was made.

    statements: texts for format(), whose %1$I is the view's schema, and %2$I its name.
    """
    composed = sql.SQL("\n        ").join(
        sql.SQL("EXECUTE format({}, ours.place, ours.name);").format(sql.Literal(statement))
        for statement in statements
    )
    block = sql.SQL(_FOR_EACH).format(ours=_ours(schema), statements=composed).as_string(None)
    tag = "$coord$"
    while tag in block:  # a role's name may be anything
        tag = f"{tag[:-1]}_$"
    return f"DO {tag}{block}{tag};"


def missing_aliases(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Return a sentence for each view that is not there, with the reason."""
    return list(_missing(connection, schema).values())


def misread(connection: psycopg.Connection[Any], schema: str, query: str) -> str:
    """Return a sentence for a view of `sys` that a query names and that is not this schema's.

    It shows another schema of coord in the same database, or is somebody else's. Empty: none.
    """
    named = set(re.findall(r'\bsys"?\s*\.\s*"?(\w+)', query.lower()))
    if not named & set(PEOPLE_VIEWS):
        return ""
    missing = _missing(connection, schema)
    told = [text for (place, name), text in missing.items() if place == "sys" and name in named]
    return told[0] if told else ""


def remarks(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Return a sentence for whatever an operator should know of the schema and its neighbours."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_NEIGHBOURS, {"schema": schema}).fetchone()
    assert row is not None, "this query has one row"
    role, open_to_all = row
    found = missing_aliases(connection, schema)
    if open_to_all:
        found.append(
            f"every role may create in schema {schema}, functions named as coord's too: run"
            f" REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
        )
    if role == schema:
        found.append(
            f"role {role} has the name of coord's schema, which its own SQL meets first by the"
            " usual search_path: give your applications another role"
        )
    return found


def _missing(connection: psycopg.Connection[Any], schema: str) -> dict[tuple[str, str], str]:
    query = sql.SQL(_NOT_OURS).format(ours=_ours(schema), **_lists(schema))
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(query).fetchall()
    return {(row[0], row[1]): _sentence(schema, *row) for row in rows}


def _sentence(schema: str, place: str, name: str, relation: str, taken: bool) -> str:
    if taken:
        return f"{place}.{name} is somebody else's: read {schema}.{relation} instead"
    return (
        f"{place}.{name} is not there: run `coord db upgrade` as a role that may create views in"
        f" schema {place}, or read {schema}.{relation} instead"
    )


def _ours(schema: str) -> sql.Composed:
    return sql.SQL(_OURS).format(schema_text=sql.Literal(schema), **_lists(schema))


def _lists(schema: str) -> dict[str, sql.Composable]:
    aliases = _aliases(schema)
    return {
        "places": _array([alias.place for alias in aliases]),
        "names": _array([alias.name for alias in aliases]),
        "relations": _array([alias.of for alias in aliases]),
    }


def _array(texts: list[str]) -> sql.Composed:
    return sql.SQL("CAST(ARRAY[{}] AS text[])").format(
        sql.SQL(", ").join(sql.Literal(text) for text in texts)
    )


def _aliases(schema: str) -> list[Alias]:
    """Return the views of a schema; where our tables are themselves there is none of them."""
    return [alias for alias in ALIASES if (alias.place, alias.name) != (schema, alias.of)]

"""Functions outside our schema, under names that people know: sys.create_task, sys.cancel_task.

They call those of our schema with the rights of their caller. Where the name is somebody else's, or
the schema `sys` may not be made, none is made; `coord sql` does not need them.
"""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql

#: By the text of a comment a function is known as that of one schema of ours.
_MARK: LiteralString = "of coord in schema {schema}"
#: Name, arguments with defaults, and the call.
_DOORS: tuple[tuple[LiteralString, LiteralString, LiteralString, LiteralString], ...] = (
    (
        "create_task",
        "type text, location_type text DEFAULT 'SYSTEM', location text DEFAULT NULL,"
        " options jsonb DEFAULT '{}', name text DEFAULT NULL",
        "sys_create_task($1, $2, $3, $4, $5)",
        "text, text, text, jsonb, text",
    ),
    ("cancel_task", "ref text", "sys_cancel_task($1)", "text"),
)
_MAKE: LiteralString = """
DO $coord$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'sys') THEN
        CREATE SCHEMA sys;
    END IF;
    CREATE FUNCTION sys.{name}({arguments}) RETURNS pg_catalog.uuid
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS {body};
    COMMENT ON FUNCTION sys.{name}({types}) IS {mark};
EXCEPTION
    WHEN duplicate_function OR duplicate_schema OR unique_violation OR insufficient_privilege
        THEN NULL;
END
$coord$
"""
_FOR_EACH: LiteralString = """
DECLARE
    ours record;
BEGIN
    FOR ours IN
        SELECT CAST(found.oid AS pg_catalog.regprocedure) AS door
        FROM pg_catalog.pg_proc AS found
        JOIN pg_catalog.pg_namespace AS there
            ON there.oid = found.pronamespace AND there.nspname = 'sys'
        WHERE pg_catalog.obj_description(found.oid, 'pg_proc') = {mark}
    LOOP
        {statements}
    END LOOP;
END
"""


def make_doors(schema: str) -> list[str]:
    """Return the statements that make the functions whose names are free."""
    return [
        sql.SQL(_MAKE)
        .format(
            name=sql.SQL(name),
            arguments=sql.SQL(arguments),
            types=sql.SQL(types),
            body=sql.Literal(
                sql.SQL("SELECT {}.").format(sql.Identifier(schema)).as_string(None) + call
            ),
            mark=_mark(schema),
        )
        .as_string(None)
        for name, arguments, call, types in _DOORS
    ]


def for_each_door(schema: str, *statements: str) -> str:
    """Return a block that executes statements for each function that was made.

    statements: texts for format(), whose %1$s is the function with the types of its arguments.
    """
    composed = sql.SQL("\n        ").join(
        sql.SQL("EXECUTE pg_catalog.format({}, ours.door);").format(sql.Literal(statement))
        for statement in statements
    )
    block = sql.SQL(_FOR_EACH).format(mark=_mark(schema), statements=composed).as_string(None)
    tag = "$coord$"
    while tag in block:  # a role's name may be anything
        tag = f"{tag[:-1]}_$"
    return f"DO {tag}{block}{tag};"


def _mark(schema: str) -> sql.Literal:
    return sql.Literal(_MARK.format(schema=schema))

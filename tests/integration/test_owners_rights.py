"""Functions with the owner's rights are run by nobody else, and serve our own tables alone."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from coordinator.store.schema import retention
from coordinator.store.schema.operations import rights as operations
from coordinator.store.schema.planned import rights as planned
from coordinator.store.schema.webhook import rights as webhook

pytestmark = pytest.mark.real

#: Trigger functions, and those that run with the rights of their owner.
PRIVILEGED = """
    SELECT proname, prosecdef, has_function_privilege('public', oid, 'EXECUTE')
    FROM pg_proc
    WHERE pronamespace = CAST(%s AS regnamespace)
        AND (prosecdef OR prorettype = CAST('trigger' AS regtype))
    ORDER BY proname
"""
DEFINERS = ("coord_refuse_clash", "coord_restore_token")
#: Functions that are called, and ask for whom.
CALLED = (
    *("coord_forget_checkpoints", "coord_forget_leaving"),
    *(name.partition("(")[0] for name in retention.FUNCTIONS),
    *(
        name.partition("(")[0]
        for name in (
            *operations.NODE_FUNCTIONS,
            *operations.ADMINISTRATOR_FUNCTIONS,
            *planned.ADMINISTRATOR_FUNCTIONS,
            *webhook.NODE_FUNCTIONS,
        )
    ),
)


def attach(connection: psycopg.Connection[Any], schema: str, function: str, table: str) -> None:
    """Make a temporary table whose rows set off a function of ours."""
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} (group_id text, name text, term bigint)").format(
            sql.Identifier(table)
        )
    )
    connection.execute(
        sql.SQL("CREATE TRIGGER t BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
            sql.Identifier("pg_temp", table), sql.Identifier(schema, function)
        )
    )


def test_nobody_else_may_run_what_has_the_owners_rights(database):
    found = database.query(PRIVILEGED, database.schema)

    assert {name for name, definer, _ in found if definer} == {*DEFINERS, *CALLED}
    assert [name for name, _, everybodys in found if everybodys] == []


@pytest.mark.parametrize("function", DEFINERS)
def test_a_reader_attaches_no_function_of_ours_to_a_table_of_his(database, function: str):
    """It would lock the rows of tokens, and so stop their holders."""
    role = sql.Identifier(f"reader_of_{database.query('SELECT current_database()')[0][0]}")
    with database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        home = sql.Identifier(database.schema)
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(home, role))
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(role))

        with pytest.raises(errors.InsufficientPrivilege, match=function):
            attach(connection, database.schema, function, "mine")


@pytest.mark.parametrize("table", ["task", "group_record", "token_holder", "mine"])
@pytest.mark.parametrize("function", DEFINERS)
def test_a_function_of_ours_refuses_a_table_that_is_not(database, function: str, table: str):
    """The name of the table, and the role that may attach it, make no difference."""
    with database.connect() as connection, connection.transaction(force_rollback=True):
        attach(connection, database.schema, function, table)
        new = sql.SQL("INSERT INTO {} VALUES ('orders', 'x', 1)")

        with pytest.raises(errors.InsufficientPrivilege, match="not a table of coord"):
            connection.execute(new.format(sql.Identifier("pg_temp", table)))

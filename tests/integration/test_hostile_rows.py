"""Rows that a group's login wrote break no look of others at all groups."""

from __future__ import annotations

import io
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb
from rich.console import Console

from coordinator.app.admin.status import StatusReader
from coordinator.app.config.database_choice import Resolved
from coordinator.cli.options import TimeStyle
from coordinator.cli.render.documents import history_document, pretty, status_document
from coordinator.cli.render.history_tables import history_parts
from coordinator.cli.render.status_tables import groups_table
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.store.admin.admin_store import AdminStore
from coordinator.store.driver import connect as driver
from coordinator.store.schema.grants import VIEWS, VIEWS_FOR_PEOPLE
from coordinator.store.schema.roles import NODE
from tests.conformance.worlds import GROUP, TIMEOUT_S
from tests.integration.test_held_rows import STRANGER, node_of
from tests.support.servers.roles import Roles

pytestmark = pytest.mark.real

#: By the type of a column: what no reader expects there.
EDGES = {
    "timestamp with time zone": ("infinity", "-infinity", "4000-01-01 BC", "294276-12-31"),
    "integer": (2**31 - 1, -(2**31)),
    "bigint": (2**63 - 1, -(2**63)),
    "text": ("", "\x1b[2J\n\u202e", "x" * 3_000_000),
    "uuid": ("ffffffff-ffff-ffff-ffff-ffffffffffff",),
    "boolean": (True, False),
    "bytea": (b"", b"\0" * 3_000_000),
    "jsonb": (Jsonb(None), Jsonb([[[]]])),
}
#: Rounds, so that the last value that a column took is looked at, and then the next.
ROUNDS = max(map(len, EDGES.values()))
COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = %s AND table_name = %s
"""


def spoil(roles: Roles, connection: psycopg.Connection, turn: int) -> tuple[int, int]:
    """Write the turn-th value into each column; return how many were taken, and how many not."""
    taken = refused = 0
    for table, needs in NODE.items():
        kinds = dict(roles.database.query(COLUMNS, roles.database.schema, table))
        for column in filter(None, (name.strip() for name in needs.update.split(","))):
            edges = EDGES[str(kinds[column])]
            statement = sql.SQL("UPDATE {} SET {} = %s").format(
                sql.Identifier(table), sql.Identifier(column)
            )
            try:
                connection.execute(statement, (edges[turn % len(edges)],))
                taken += 1
            except psycopg.Error:
                refused += 1
    return taken, refused


def look_at_everything(roles: Roles, stack: ExitStack) -> None:
    """Read and show whatever people and nodes of other groups are shown of all groups."""
    conninfo, schema = roles.login("reader"), roles.database.schema
    look = StatusReader(
        Resolved(conninfo=conninfo, label="here", scope="server"), schema=schema, timeout_s=9
    )
    stack.callback(look.close)
    status, history = look.status(), look.history()
    assert {group.group for group in status.groups} == {GROUP, STRANGER}
    console = Console(file=io.StringIO())
    for style in TimeStyle:
        console.print(groups_table(status.groups, style))
        console.print(*history_parts(history, style, several=True))
    assert pretty(status_document(status))
    assert pretty(history_document(history))
    with AdminStore(conninfo, schema=schema, where="here", timeout_s=9.0) as operator:
        assert {row["group_id"] for row in operator.list()} == {GROUP, STRANGER}
        assert {row["group_id"] for row in operator.nodes()} == {GROUP, STRANGER}
        for group in (GROUP, STRANGER):
            assert operator.record(group)
            operator.show(group, "mail")
            operator.decisions(group)
    with driver.open_session(roles.login("node", GROUP), row_factory=tuple_row) as connection:
        for relation in (*VIEWS, *VIEWS_FOR_PEOPLE):
            name = sql.Identifier(schema, relation)
            connection.execute(sql.SQL("SELECT * FROM {}").format(name)).fetchall()
        everything = sql.SQL("SELECT {} FROM {}")
        for table, needs in NODE.items():
            if needs.select:
                columns = sql.SQL(needs.select)
                name = sql.Identifier(schema, table)
                connection.execute(everything.format(columns, name)).fetchall()


def test_edge_values_in_the_rows_of_one_group_break_no_look_at_all_groups(roles: Roles):
    with ExitStack() as stack:
        node = stack.enter_context(node_of(roles, GROUP, "a"))
        spoiled = stack.enter_context(node_of(roles, STRANGER, "s"))
        node.win()
        spoiled.win()
        with AdminStore(
            roles.login("system_administrator"), roles.database.schema, "test", TIMEOUT_S
        ) as operator:
            for group in (GROUP, STRANGER):
                operator.add(group, TaskDef(name="mail"), who="ana")
        stranger = stack.enter_context(roles.connect("node", STRANGER))
        for statement in (
            "INSERT INTO schedule (group_id, name) VALUES ('billing', 'x')",
            "INSERT INTO task_node (group_id, task, node) VALUES ('billing', 'mail', 's')",
            "INSERT INTO token_state (group_id, slot, sequence, term, session, saved_at, content)"
            " VALUES ('billing/mail', 1, 1, 1, gen_random_uuid(), now(), '1')",
        ):
            stranger.execute(statement)

        for turn in range(ROUNDS):
            taken, refused = spoil(roles, stranger, turn)
            assert taken > 20
            assert refused > 0
            look_at_everything(roles, stack)

        assert node.beat().done
        assert node.release(1).done


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "4000-01-01 BC", "294276-12-31"])
def test_a_moment_that_nobody_can_show_is_refused(database, moment: str):
    """By whomever it is written; a heartbeat's own is read with care instead."""
    database.query("INSERT INTO health_check (group_id, task_id) VALUES ('orders', 'a')")
    rows = "INSERT INTO token_holder (group_id, {0}) VALUES ('orders', %s)"
    moments = {
        "token_holder": ("acquired_at", "released_at"),
        "health_check": ("ended_at", "joined_at", "started_at"),
    }
    for table, columns in moments.items():
        for column in columns:
            change = rows.format(column)
            if table == "health_check":
                change = f"UPDATE health_check SET {column} = %s"
            with pytest.raises(psycopg.errors.CheckViolation):
                database.query(change, moment)


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "4000-01-01 BC", "294276-12-31"])
def test_a_heartbeat_at_no_moment_that_can_be_shown_is_of_a_dead_node(database, moment: str):
    database.query(
        "INSERT INTO health_check (group_id, task_id, session, liveness_ms, last_heartbeat)"
        " VALUES ('orders', 'a', gen_random_uuid(), 3000, %s)",
        moment,
    )

    shown = "SELECT state, beat_age_s FROM coord_nodes"
    assert database.query(shown) == [("dead", None)]
    assert database.query("SELECT count(*) FROM coord_status") == [(1,)]

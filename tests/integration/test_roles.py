"""Rights on rows, role by role, once the script of `coord db roles` was run.

That a node does all its work under its role is proved in tests/conformance, whose third database
has these roles.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from coordinator.errors import DatabaseRefusedError, NodeAliveError
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.messages.requests import RaiseFloor, Settle
from coordinator.store.admin.admin_store import AdminStore
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.program import schedule as schedule_store
from coordinator.store.program import schedule_ends
from coordinator.store.schema import migrate
from coordinator.store.schema.aliases import ALIASES
from coordinator.store.schema.grants import VIEWS, VIEWS_FOR_PEOPLE
from coordinator.store.schema.migrate import upgrade
from coordinator.store.schema.roles import NODE, ROLES, TABLES, Needs
from coordinator.store.schema.segments.rights import SECRET
from coordinator.store.schema.tables import SCHEMA, metadata
from coordinator.store.sql.fence import fence_sql
from tests.conformance.worlds import GROUP, TIMEOUT_S, Node, facts_of
from tests.support.servers.catalogue import offer
from tests.support.servers.roles import Roles
from tests.support.servers.segment_rows import write_segment_rows

pytestmark = pytest.mark.real

OTHER = "billing"
SLOT = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINE = "00000000-0000-4000-8000-000000000001"
#: Statements of a node's role on its own group's rows; it meets no other group's.
CHANGES = {
    "beat": "UPDATE health_check SET beat = beat + 1 WHERE group_id = %(group)s",
    "end": "UPDATE health_check SET ended_at = now(), end_reason = 'x' WHERE group_id = %(group)s",
    "release": "UPDATE token_holder SET session = NULL WHERE group_id = %(group)s",
    "raise term_floor": "UPDATE token_holder SET term_floor = 9 WHERE group_id = %(group)s",
    "take": """
        UPDATE health_check SET ended_at = now() WHERE group_id = %(group)s;
        UPDATE token_holder SET session = %(mine)s, task_id = 'intruder', term = term + 1
        WHERE group_id = %(group)s
    """,
    "lock": "SELECT FROM token_holder WHERE group_id = %(group)s FOR UPDATE",
    "lock softly": "SELECT FROM token_holder WHERE group_id = %(group)s FOR KEY SHARE",
    "lock an epoch": "SELECT FROM database_epoch WHERE group_id = %(group)s FOR UPDATE",
    "version": "UPDATE group_record SET version = version + 1 WHERE group_id = %(group)s",
    "end a term": "UPDATE token_history SET ended_at = now() WHERE group_id = %(group)s",
    "schedule": "UPDATE schedule SET fired_count = 0 WHERE group_id = %(group)s",
    "judge a node": "UPDATE health_check SET standing = 'rehab' WHERE group_id = %(group)s",
    "finish a task": """
        UPDATE task SET enabled = false, end_reason = 'x' WHERE group_id = %(group)s
    """,
    "tell of a task": "UPDATE task_node SET error = 'x' WHERE group_id = %(group)s",
    "end a planned change": """
        UPDATE planned_change SET outcome = 'done' WHERE group_id = %(group)s
    """,
    "save a state": "UPDATE token_state SET content = '1' WHERE group_id = %(group)s",
}
#: Statements of an administrator among them, with every group.
ADMINISTRATORS = ("version", "finish a task", "end a planned change")
#: The same with rows that are new; of another group's it is refused.
ADDITIONS = {
    "node": "INSERT INTO health_check (group_id, task_id) VALUES (%(group)s, 'intruder')",
    "token": "INSERT INTO token_holder (group_id) VALUES (%(group)s || '/nightly')",
    "node of a token": """
        INSERT INTO health_check (group_id, task_id) VALUES (%(group)s || '/nightly', 'n')
    """,
    "event": "INSERT INTO event (group_id, kind) VALUES (%(group)s, 'x')",
    "schedule": "INSERT INTO schedule (group_id, name) VALUES (%(group)s, 'x')",
    "task on a node": """
        INSERT INTO task_node (group_id, task, node) VALUES (%(group)s, 'mail', 'x')
    """,
    "state": """
        INSERT INTO token_state (group_id, slot, sequence, term, session, saved_at, content)
        VALUES (%(group)s, 9, 9, 1, %(mine)s, now(), '1')
    """,
    "decision": """
        INSERT INTO observer_decision (group_id, version, observer, term, node, kind, before, after)
        VALUES (%(group)s, 1, 'x', 1, 'x', 'x', 'x', 'x')
    """,
}
#: Statements that no node's role may make, in its own group either.
FORBIDDEN = {
    "lower a term": "UPDATE token_holder SET term = term - 1",
    "lower a floor": "UPDATE token_holder SET term_floor = term_floor - 1",
    "raise a term alone": "UPDATE token_holder SET term = term + 1",
    "take from the living": "UPDATE token_holder SET session = %(mine)s, term = term + 1",
    "take without a term": "UPDATE token_holder SET session = %(mine)s",
    "take below the floor": """
        UPDATE health_check SET ended_at = now();
        UPDATE token_holder SET term_floor = 9 WHERE group_id = 'orders';
        UPDATE token_holder SET session = %(mine)s, term = term + 1 WHERE group_id = 'orders'
    """,
    "start with a term": "INSERT INTO token_holder (group_id, term) VALUES ('orders/x', 9)",
    "delete a token": "DELETE FROM token_holder",
    "delete a node": "DELETE FROM health_check",
    "delete history": "DELETE FROM token_history",
    "delete an event": "DELETE FROM event",
    "delete an epoch": "DELETE FROM database_epoch",
    "truncate": "TRUNCATE token_holder",
    "lock the table": "LOCK TABLE health_check IN SHARE MODE",
    "move to another group": "UPDATE health_check SET group_id = 'billing'",
    "rename a node": "UPDATE health_check SET task_id = 'x'",
    "write of terms never held": """
        INSERT INTO token_history (group_id, term, task_id, session, acquired_at, how)
        VALUES ('orders', 99, 'h', %(mine)s, now(), 'x')
    """,
    "rewrite history": "UPDATE token_history SET acquired_at = now()",
    "write history by its view": "UPDATE coord_history SET end_how = 'x'",
    "date an event": "INSERT INTO event (group_id, kind, at) VALUES ('orders', 'x', now())",
    "unsettle": "UPDATE database_epoch SET settled = false",
    "settle for all groups": "UPDATE database_epoch SET settled = true",
    "say that it was waited for long": "UPDATE database_epoch SET waited_ms = 2000000000",
    "make it the first branch": "UPDATE database_epoch SET first_branch = true",
    "date an epoch": "UPDATE database_epoch SET first_seen_at = '2001-01-01'",
    "foresee an epoch": """
        INSERT INTO database_epoch (group_id, system_identifier, timeline)
        SELECT group_id, system_identifier, timeline + 1 FROM database_epoch
        WHERE group_id = 'orders'
    """,
    "write of another group's epoch": """
        INSERT INTO database_epoch (group_id, system_identifier, timeline, started_at)
        SELECT 'x', system_identifier, timeline, started_at FROM database_epoch
        WHERE group_id = 'orders'
    """,
    "invent an epoch": """
        INSERT INTO database_epoch (group_id, system_identifier, timeline, settled)
        VALUES ('orders', 1, 1, true)
    """,
    "admit itself": "INSERT INTO group_role VALUES (session_user, 'billing')",
    "admit itself by a change": "UPDATE group_role SET group_id = 'billing'",
    "shut another out": "DELETE FROM group_role",
    "become the owner": 'SET ROLE "{prefix}_owner"',
    "turn the policies off": "ALTER TABLE health_check DISABLE ROW LEVEL SECURITY",
    "drop a policy": "DROP POLICY coord_update ON health_check",
    "turn the trigger off": "SET session_replication_role = replica",
    "drop the trigger": "DROP TRIGGER coord_guard_token ON token_holder",
    "make a table": "CREATE TABLE {schema}.mine (x int)",
    "change the revision": "UPDATE coord_version SET version_num = '9999'",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "read files": "SELECT pg_read_file('postgresql.conf')",
    "add a command": """
        INSERT INTO task (group_id, name, spec) VALUES ('orders', 'x', '{{"command": ["id"]}}')
    """,
    "change a command": """UPDATE task SET spec = '{{"command": ["id"]}}'""",
    "enable a command": "UPDATE task SET enabled = true",
    "bring a command back": "UPDATE task SET deleted = false",
    "put a task elsewhere": "UPDATE task SET preferred = 'x'",
    "delete a task": "DELETE FROM task",
    "forget a failure": "DELETE FROM task_node",
    "change the policy": "UPDATE group_record SET to_member_ms = 0",
    "suspend the observer": "UPDATE group_record SET suspended_at = now()",
    "rewrite a decision": "UPDATE observer_decision SET reason = 'x'",
    "take a task as no Member": """
        UPDATE health_check SET standing = 'rehab';
        UPDATE token_holder SET session = (SELECT session FROM health_check WHERE
        group_id = 'orders'), task_id = 'h', term = term + 1 WHERE group_id = 'orders/mail'
    """,
    "take a task from the living": """
        UPDATE token_holder SET session = (SELECT session FROM health_check WHERE
        group_id = 'orders'), task_id = 'h', term = term + 1 WHERE group_id = 'orders/mail';
        INSERT INTO health_check (group_id, task_id) VALUES ('orders', 'i');
        UPDATE health_check SET session = %(mine)s WHERE group_id = 'orders' AND task_id = 'i';
        UPDATE token_holder SET session = %(mine)s, task_id = 'i', term = term + 1
        WHERE group_id = 'orders/mail'
    """,
    "ask for a change": """
        INSERT INTO planned_change (group_id, kind) VALUES ('orders', 'pause work')
    """,
    "rewrite what was asked for": "UPDATE planned_change SET node = 'x'",
    "forget what was asked for": "DELETE FROM planned_change",
    "read events": "SELECT * FROM event",
    "read what a program said": "SELECT last_error FROM schedule",
    "run a program": "COPY event FROM PROGRAM 'id'",
}
NO_WAY = (errors.InsufficientPrivilege, errors.WrongObjectType, errors.ObjectNotInPrerequisiteState)


@contextmanager
def undone(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """Run statements whose effect nobody sees."""
    with connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def filled(roles: Roles) -> Roles:
    """Two groups, each with a holder, history and a schedule, written by their own roles."""
    for group in (GROUP, OTHER):
        with node_of(roles, group) as holder:
            holder.win()
            held = schedule_store.Holding(
                schema=roles.database.schema, group=group, term=1, session=holder.session
            )
            with schedule_store.open_connection(roles.login("node", group), 5.0) as connection:
                schedule_store.read(connection, held)
                schedule_store.claim(connection, held, slot=SLOT, skipped=1)
                assert schedule_ends.settle(connection, held) is not None
                assert schedule_ends.finish(
                    connection,
                    held,
                    slot=SLOT,
                    outcome="failed",
                    duration_s=0.0,
                    error="no",
                    terminate="run 1: no",
                )
        work(roles, group)
    # Long enough ago for the wait of a new identity.
    roles.database.query("UPDATE database_epoch SET first_seen_at = now() - interval '1 day'")
    offer(roles.database, GROUP, "h")
    mark = "INSERT INTO webhook (group_id, read_to, reading) VALUES (%s, '1:1:', '1:1:')"
    roles.database.query(mark, GROUP)
    with roles.connect("system_administrator") as connection:
        connection.execute("SELECT sys.create_task('rebuild')")
        for group in (GROUP, OTHER):
            connection.execute(
                "INSERT INTO planned_change (group_id, kind, node, value)"
                " VALUES (%s, 'priority', 'h', 3)",
                [group],
            )
    return roles


def work(roles: Roles, group: str) -> None:
    """Have something in the tables of tasks."""
    with operator_of(roles, "system_administrator") as operator:
        operator.add(group, TaskDef(name="mail", spec='{"command": ["secret"]}'), who="ana")
    with roles.connect("node", group) as connection:
        for addition in ("task on a node", "state", "decision"):
            # Others than those that are added later.
            deed = ADDITIONS[addition].replace("'x'", "'h'").replace("9, 9", "8, 8")
            connection.execute(deed, {"group": group, "mine": MINE})
        write_segment_rows(connection, group)


def operator_of(roles: Roles, role: str, group: str | None = None) -> AdminStore:
    """Open an operator's connection under a role."""
    return AdminStore(roles.login(role, group), roles.database.schema, "test", TIMEOUT_S)


@contextmanager
def node_of(roles: Roles, group: str, name: str = "h", **facts: Any) -> Iterator[Node]:
    """Join a node under its group's role."""
    known = facts_of(name, group=group, **facts)
    store = PostgresStore(roles.login("node", group), roles.database.schema, known)
    node = Node(known, store.connect(TIMEOUT_S))
    try:
        assert node.join().done
        yield node
    finally:
        node.connection.close()


@pytest.mark.parametrize("role", ["node", "reader", "system_administrator", "nobody"])
def test_each_role_changes_its_own_group_and_no_other(filled: Roles, role: str):
    """The matrix: role x operation x group, on rows that are there."""
    for operation, statement in CHANGES.items():
        for group in (GROUP, OTHER):
            # "nobody" has a node's rights, and was admitted to no group.
            as_role = "node" if role == "nobody" else role
            admitted = GROUP if role == "node" else None
            outcome = tried(filled, as_role, admitted, statement, group)

            if role == "node":
                expected = 1 if group == GROUP else 0
            elif role == "system_administrator" and operation in ADMINISTRATORS:
                expected = 1
            else:
                expected = 0 if role == "nobody" else "refused"
            assert (operation, group, outcome) == (operation, group, expected)


@pytest.mark.parametrize("role", ["node", "reader", "system_administrator", "nobody"])
def test_each_role_adds_to_its_own_group_and_to_no_other(filled: Roles, role: str):
    """The matrix: role x operation x group, on rows that are new."""
    for operation, statement in ADDITIONS.items():
        for group in (GROUP, OTHER):
            as_role = "node" if role == "nobody" else role
            admitted = GROUP if role == "node" else None

            outcome = tried(filled, as_role, admitted, statement, group)

            allowed = (role, group) == ("node", GROUP)
            if role == "system_administrator":
                # A task's token is made with the task, and every change of one is an event.
                allowed = operation in ("token", "event")
            expected = 1 if allowed else "refused"
            assert (operation, group, outcome) == (operation, group, expected)


def tried(roles: Roles, role: str, admitted: str | None, deed: str, group: str) -> int | str:
    """Return how many rows a deed met in the end, or "refused"."""
    with undone(roles.connect(role, admitted)) as connection:
        try:
            for statement in deed.split(";"):
                rows = connection.execute(statement, {"group": group, "mine": MINE}).rowcount
        except errors.InsufficientPrivilege:
            return "refused"
    return rows


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_what_no_node_may_do_in_its_own_group_either(filled: Roles, deed: str):
    """N2 among them: a token's row is never deleted, and its term never falls."""
    words = {"prefix": filled.prefix, "schema": filled.database.schema}
    *before, last = FORBIDDEN[deed].format(**words).split(";")
    with undone(filled.connect("node", GROUP)) as connection:
        for statement in before:
            assert connection.execute(statement, {"mine": MINE}).rowcount == 1
        with pytest.raises(NO_WAY):
            connection.execute(last, {"mine": MINE} if "%(" in last else None)


@pytest.mark.parametrize("role", ["reader", "system_administrator"])
def test_who_only_looks_reads_everything(filled: Roles, role: str):
    with filled.connect(role) as connection:
        outside = (f"{alias.place}.{alias.name}" for alias in ALIASES)
        shown = [table for table in TABLES if table not in SECRET]
        for relation in (*shown, *VIEWS, *VIEWS_FOR_PEOPLE, *outside):
            row = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
            assert row is not None
            assert row[0] > 0, relation


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_a_reader_only_reads(filled: Roles, deed: str):
    if deed.startswith("read") and deed not in ("read passwords", "read files"):
        return  # that is what a reader is for
    words = {"prefix": filled.prefix, "schema": filled.database.schema}
    statement = FORBIDDEN[deed].format(**words).split(";")[0]
    with undone(filled.connect("reader")) as connection, pytest.raises(NO_WAY):
        connection.execute(statement, {"mine": MINE} if "%(" in statement else None)


def test_a_node_adds_no_command(filled: Roles):
    """A role that defines a task runs a command on every node of its group."""
    with operator_of(filled, "node", GROUP) as operator:
        known = operator.show(GROUP, "mail")[0]["definition"]
        other = replace(known, spec='{"command": ["id"]}')
        for deed in (
            lambda: operator.add(GROUP, TaskDef(name="x"), who="h"),
            lambda: operator.change(GROUP, other, who="h"),
            lambda: operator.declare(GROUP, [TaskDef(name="x")], who="h"),
            lambda: operator.delete(GROUP, "mail", who="h"),
        ):
            with pytest.raises(DatabaseRefusedError, match="system_administrator"):
                deed()

        assert operator.show(GROUP, "mail")[0]["definition"] == known


def test_a_node_declares_what_an_administrator_has_declared(filled: Roles):
    declared = [TaskDef(name="x", spec='{"command": ["true"]}')]
    with operator_of(filled, "system_administrator") as operator:
        assert operator.declare(GROUP, declared, who="ana") == ()

    with operator_of(filled, "node", GROUP) as operator:
        assert operator.declare(GROUP, declared, who="h") == ()


def test_definitions_errors_and_states_are_read_by_their_own_group_alone(filled: Roles):
    filled.database.query("UPDATE task_node SET error = 'secret', told_at = now()")
    with filled.connect("node", GROUP) as connection:
        for table in ("task", "task_node", "token_state"):
            groups = connection.execute(f"SELECT DISTINCT group_id FROM {table}").fetchall()
            assert (table, groups) == (table, [(GROUP,)])
        shown = "SELECT group_id, last_error FROM sys.ongoing_tasks ORDER BY 1"
        assert connection.execute(shown).fetchall() == [(OTHER, None), (GROUP, "secret")]


def test_a_system_administrator_evicts_the_dead_alone(filled: Roles):
    with filled.connect("system_administrator") as connection:
        assert connection.execute("DELETE FROM health_check").rowcount == 0
    filled.database.query("UPDATE health_check SET ended_at = now() WHERE group_id = %s", GROUP)

    with operator_of(filled, "system_administrator") as operator:
        operator.evict(GROUP, "h", who="ana")
        with pytest.raises(NodeAliveError):
            operator.evict(OTHER, "h", who="ana")


def test_a_system_administrator_suspends_and_moves(filled: Roles):
    with operator_of(filled, "system_administrator") as operator:
        operator.move(GROUP, "mail", preferred="h", who="ana")
        assert operator.disable(GROUP, "mail", who="ana")
        assert operator.enable(GROUP, "mail", who="ana")
        assert operator.suspend(GROUP, who="ana", reason="maintenance")
        assert operator.set_policy(GROUP, {"to_member_s": 1.0}, who="ana")
        operator.delete(GROUP, "mail", who="ana")

        assert operator.record(GROUP).suspended
        assert operator.list(GROUP) == []


def test_a_system_administrator_admits_and_shuts_out(filled: Roles):
    admit = "INSERT INTO group_role VALUES ('someone', 'orders')"
    with undone(filled.connect("system_administrator")) as connection:
        assert connection.execute(admit).rowcount == 1
        assert connection.execute("DELETE FROM group_role").rowcount == 3


def test_a_role_that_is_shut_out_beats_no_more(filled: Roles):
    filled.database.query("UPDATE task SET deleted = true")
    with node_of(filled, GROUP, "a") as node:
        assert node.beat().done
        with filled.connect("system_administrator") as administrator:
            administrator.execute("DELETE FROM group_role WHERE group_id = %s", (GROUP,))

        assert not node.beat().done


def test_a_node_of_another_group_is_refused_with_what_to_do(roles: Roles):
    """Its first statement already; exit code 77."""
    store = PostgresStore(roles.login("node", OTHER), roles.database.schema, facts_of("a"))

    with pytest.raises(DatabaseRefusedError, match=r"not admitted .* group_role") as caught:
        store.connect(TIMEOUT_S)

    assert "\n" not in str(caught.value)


def test_a_fence_of_another_group_is_refused(filled: Roles):
    asked = {"group": OTHER, "term": 1, "session": MINE}
    with filled.connect("node", GROUP) as user, pytest.raises(errors.Error) as caught:
        user.execute(fence_sql(filled.database.schema), asked)

    assert caught.value.sqlstate == "CF001"


def test_nobody_settles_before_the_wait_is_over(roles: Roles):
    """E3: an identity is all groups' own, so the server itself counts the wait."""
    moments = {"now()": False, "now() - interval '1 day'": True, "now() + interval '1 h'": True}
    with node_of(roles, GROUP, liveness_s=60.0) as node:
        for first_seen_at, expected in moments.items():
            roles.database.query(
                "UPDATE database_epoch SET settled = false, waited_ms = 0,"
                f" first_seen_at = {first_seen_at}"
            )
            roles.database.query("UPDATE group_record SET settled_branch = NULL")
            request = Settle(identity=node.look().identity, waited_s=60.0)

            assert node.ask(request).done is expected


def test_interval_of_another_group_is_not_waited_for(roles: Roles):
    """E3"""
    with node_of(roles, OTHER, liveness_s=3600.0), node_of(roles, GROUP, liveness_s=6.0) as node:
        roles.database.query("UPDATE database_epoch SET settled = false")

        assert node.look().longest_liveness_s == 6.0


def test_a_floor_that_is_raised_stays(roles: Roles):
    """N3"""
    with node_of(roles, GROUP) as node:
        for term, floor in ((7, 7), (3, 7)):
            assert node.ask(RaiseFloor(term=term)).done
            assert node.look().token.term_floor == floor


def test_whoever_uses_no_roles_is_bound_by_nothing(database):
    """A superuser and an owner do as before, and so does a role with plain grants."""
    with database.connect() as connection:
        connection.execute("INSERT INTO token_holder (group_id, term) VALUES ('orders', 7)")
        assert connection.execute("UPDATE token_holder SET term = 1").rowcount == 1
        guarded = "SELECT count(*) FROM pg_class WHERE relrowsecurity"
        assert connection.execute(guarded).fetchone() == (0,)


def test_the_owner_is_bound_by_nothing_with_roles_either(filled: Roles):
    with filled.database.connect() as connection:
        connection.execute(f'SET ROLE "{filled.prefix}_owner"')
        assert connection.execute("UPDATE token_holder SET term = 0").rowcount == 4
        assert connection.execute("DELETE FROM token_history").rowcount == 2


def test_the_script_may_be_run_again_and_takes_back_what_was_granted_by_hand(filled: Roles):
    filled.database.query("UPDATE task SET deleted = true")
    schema = filled.database.schema
    filled.database.query(f'GRANT DELETE ON token_holder TO "{filled.prefix}_node"')

    filled.run_script()

    with (
        node_of(filled, GROUP, "a") as node,
        filled.connect("node", GROUP) as connection,
    ):
        assert node.beat().done
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"DELETE FROM {schema}.token_holder")


def test_every_table_has_its_rights_and_its_policies(roles: Roles):
    """A table that a later migration adds must be thought of here."""
    ours = {table.name for table in metadata.sorted_tables}
    bare = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace"
    unguarded = roles.database.query(f"{bare} AND NOT relrowsecurity", roles.database.schema)

    assert ours == set(NODE) - {"coord_version"}
    assert {row[0] for row in unguarded} == {"group_role", "coord_version"}


def test_columns_that_a_node_needs_exist():
    for table, needs in NODE.items():
        if needs == Needs():
            continue
        known = {column.name for column in metadata.tables[f"{SCHEMA}.{table}"].columns}
        for columns in (needs.select, needs.insert, needs.update):
            asked = {column.strip() for column in columns.split(",")} - {"", "*"}
            assert asked <= known


def coord(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: it for key, it in os.environ.items() if not key.startswith(("COORD_", "PG"))}
    return subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *arguments],
        env=kept | environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("role", ["reader", "node"])
def test_the_commands_that_look_work_under_their_role(filled: Roles, role: str):
    known = {
        "COORD_DATABASE_URL": filled.login(role, GROUP if role == "node" else None),
        "COORD_DATABASE_SCHEMA": filled.database.schema,
    }
    for command in (
        *(("status",), ("status", GROUP), ("history", OTHER), ("db", "check")),
        *(("explain", GROUP), ("token", "list")),
    ):
        answer = coord(*command, **known)

        assert (answer.returncode, answer.stderr) == (0, ""), command


def test_the_command_prints_the_script(database):
    answer = coord("db", "roles", "--schema", database.schema, "--prefix", "cli")
    try:
        database.query(answer.stdout)

        made = database.query("SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'cli_')")
        assert {row[0] for row in made} == {f"cli_{role}" for role in ROLES}
    finally:
        for role in ROLES:
            database.query(f"DROP OWNED BY cli_{role} CASCADE; DROP ROLE cli_{role}")


@pytest.mark.parametrize(
    "arguments", [("--prefix", "x'; DROP"), ("--prefix", ""), ("--schema", "a b"), ("--schema", "")]
)
def test_a_name_that_would_need_quotes_is_refused(arguments: tuple[str, ...]):
    answer = coord("db", "roles", *arguments)

    assert answer.returncode in (2, 78)
    assert answer.stdout == ""


def test_migrations_run_as_the_owner(unmigrated):
    """The owner logs in nowhere; a login that may become it runs `coord db upgrade`."""
    unmigrated.query("CREATE ROLE keeper NOLOGIN")
    try:
        (name,) = unmigrated.query("SELECT current_database()")[0]
        unmigrated.query(f'GRANT CREATE ON DATABASE "{name}" TO keeper')
        as_owner = make_conninfo(unmigrated.conninfo, options="-c role=keeper")

        upgrade(as_owner, unmigrated.schema)

        migrate.check(as_owner, unmigrated.schema)
        owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = %s"
        assert unmigrated.query(owners, unmigrated.schema) == [("keeper",)]
    finally:
        unmigrated.query("DROP OWNED BY keeper CASCADE; DROP ROLE keeper")

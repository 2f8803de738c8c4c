"""coord beside others in one database: a schema of its own, and names that others may have."""

from __future__ import annotations

import threading
import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from coordinator.errors import SchemaError, StatementError
from coordinator.store.operations.people import Operations
from coordinator.store.schema import migrate
from coordinator.store.schema.aliases import ALIASES, missing_aliases
from tests.support.servers.postgres import Server

NAMES = [f"{alias.place}.{alias.name}" for alias in ALIASES]

#: The tables of an application that knows nothing of us, in every name that we use as well.
APPLICATION = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('ae1027a6acf1');
CREATE TABLE event (what text);
CREATE TABLE task (what text);
CREATE TABLE schedule (what text);
CREATE TABLE token_holder (task_id text);
CREATE TABLE health_check (task_id text);
CREATE SCHEMA sys;
CREATE TABLE sys.nodes (what text);
"""


@pytest.fixture
def empty(server: Server) -> str:
    name = f"beside_{threading.get_native_id()}"
    server.query(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    server.query(f"CREATE DATABASE {name}")
    return make_conninfo(server.conninfo(name), options="-c search_path=public")


def rows(conninfo: str, query: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def test_an_applications_tables_and_its_alembic_are_never_met(empty: str):
    rows(empty, APPLICATION)

    migrate.upgrade(empty, "coord")

    migrate.check(empty, "coord")
    assert rows(empty, "SELECT version_num FROM alembic_version") == [("ae1027a6acf1",)]
    assert rows(empty, "SELECT * FROM event, task, schedule, token_holder, sys.nodes") == []


@pytest.mark.parametrize("schema", ["coord", "odd-Schema", "sys"])
def test_people_read_the_names_that_they_know(empty: str, schema: str):
    """W8"""
    migrate.upgrade(empty, schema)

    for name in NAMES:
        assert rows(empty, f"SELECT * FROM {name}") == []
    home = f'"{schema}"'
    rows(empty, f"INSERT INTO {home}.token_holder (group_id, task_id, term) VALUES ('g', 'a', 3)")
    rows(empty, f"INSERT INTO {home}.health_check (group_id, task_id) VALUES ('g', 'a')")
    assert rows(empty, "SELECT group_id, task_id FROM health_check") == [("g", "a")]
    assert rows(empty, "SELECT node FROM sys.nodes") == [("a",)]


def test_a_released_token_names_nobody_as_its_holder(empty: str):
    """W8"""
    migrate.upgrade(empty, "coord")
    row = "SELECT task_id, last_task_id FROM token_holder"
    rows(
        empty,
        "INSERT INTO coord.token_holder (group_id, task_id, term, session) VALUES ('g','a',3,%s)",
        uuid.uuid4(),
    )
    assert rows(empty, row) == [("a", "a")]

    rows(empty, "UPDATE coord.token_holder SET session = NULL, released_at = now()")

    assert rows(empty, row) == [(None, "a")]


@pytest.mark.parametrize("name", NAMES)
def test_nobody_writes_through_a_view(empty: str, name: str):
    migrate.upgrade(empty, "coord")

    for write in (f"DELETE FROM {name}", f"INSERT INTO {name} DEFAULT VALUES"):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            rows(empty, write)


def test_names_of_somebody_else_are_left_alone_and_said(empty: str):
    rows(empty, APPLICATION)
    migrate.upgrade(empty, "coord")

    said = migrate.offer_aliases(empty, "coord")

    assert [line.partition(" ")[0] for line in said if "somebody else's" in line] == [
        "public.health_check",
        "public.token_holder",
        "sys.nodes",
    ]
    assert "read coord.token_holder instead" in said[1]
    rows(empty, "DROP TABLE public.token_holder")
    assert len(migrate.offer_aliases(empty, "coord")) == len(said) - 1
    assert rows(empty, "SELECT task_id FROM public.token_holder") == []


def test_a_role_that_may_make_nothing_else_gets_its_schema(server: Server, empty: str):
    """The views are a courtesy: without the right to make them there are none."""
    rows(empty, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    server.query("CREATE ROLE tenant LOGIN")
    rows(empty, "CREATE SCHEMA mine AUTHORIZATION tenant")
    conninfo = make_conninfo(empty, user="tenant")
    try:
        migrate.upgrade(conninfo, "mine")

        said = migrate.offer_aliases(conninfo, "mine")
        assert len(said) == len(NAMES)
        assert all("as a role that may create views in schema" in line for line in said)
    finally:
        rows(empty, "DROP OWNED BY tenant CASCADE")
        server.query("DROP ROLE tenant")


def test_two_schemas_in_one_database_share_no_view(empty: str):
    migrate.upgrade(empty, "coord")
    migrate.upgrade(empty, "other")

    with psycopg.connect(empty) as connection:
        assert missing_aliases(connection, "coord") == []
        assert len(missing_aliases(connection, "other")) == len(NAMES)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM sys.tasks",
        'SELECT count(*) FROM "sys" . "tasks"',
        "select 1 from Sys.Nodes, SYS.TASKS",
    ],
)
def test_a_person_never_reads_the_views_of_another_schema(empty: str, query: str):
    migrate.upgrade(empty, "coord")
    migrate.upgrade(empty, "other")

    with Operations(empty, "coord", "here", 10.0) as first:
        assert len(first.select(query)[1]) == int("count" in query)
    with Operations(empty, "other", "here", 10.0) as second:
        with pytest.raises(StatementError, match=r"sys\.\w+ is somebody else's: read other\.sys_"):
            second.select(query)
        assert second.select("SELECT count(*) FROM other.sys_tasks")[1] == [(0,)]


def test_a_schema_that_others_may_create_in_is_said(empty: str):
    migrate.upgrade(empty, "coord")
    before = set(migrate.offer_aliases(empty, "coord"))

    rows(empty, "GRANT CREATE ON SCHEMA coord TO PUBLIC")

    (said,) = set(migrate.offer_aliases(empty, "coord")) - before
    assert "REVOKE CREATE ON SCHEMA coord FROM PUBLIC" in said


def test_tables_of_somebody_else_in_our_schema_name_the_way_out(empty: str):
    rows(empty, "CREATE TABLE event (what text)")

    with pytest.raises(
        SchemaError, match=r'relation "event" already exists.*databaseConfig.schema'
    ):
        migrate.upgrade(empty, "public")


def test_tables_of_an_unreleased_revision_are_refused_in_words(empty: str):
    rows(empty, "CREATE TABLE alembic_version (version_num varchar(32))")
    rows(empty, "CREATE TABLE database_epoch (timeline integer)")

    for ask in (migrate.check, migrate.upgrade, migrate.current):
        with pytest.raises(SchemaError, match=r"unreleased revision.*databaseConfig.schema"):
            ask(empty, "public")


def test_a_missing_schema_is_told_from_missing_tables(empty: str):
    with pytest.raises(SchemaError, match="schema 'coord' is missing"):
        migrate.check(empty, "coord")
    with pytest.raises(SchemaError, match="schema 'public' has no tables of coord"):
        migrate.check(empty, "public")

"""Settings of a role, a database, a server or the environment are for others: ours obeys none.

Every door of the product is tried under settings that each broke one of them, or would have.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import text

from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.messages.schedule_claims import Claimed
from coordinator.store.admin.admin_store import AdminStore
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.admin.demo import forget_group
from coordinator.store.admin.queries import GROUPS, HISTORY
from coordinator.store.connection import hosts
from coordinator.store.program import schedule as schedule_store
from coordinator.store.program import schedule_ends
from coordinator.store.program.fenced_transaction import fenced_transaction
from coordinator.store.schema import migrate
from coordinator.store.sql.transaction import read
from tests.conformance.worlds import GROUP
from tests.conftest import Database
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.pgbouncer import pooler
from tests.support.servers.postgres import wait_until

pytestmark = pytest.mark.real

#: A role, a database and a server may set all of these; so may PGOPTIONS.
HOSTILE = {
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "client_encoding": "LATIN1",
    "synchronous_commit": "off",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "row_security": "off",
    "client_min_messages": "error",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_session_timeout": "1s",
    "idle_in_transaction_session_timeout": "300ms",
    "search_path": "evil, pg_catalog",
}
#: Settings that a session of ours does not set: they must not matter.
LEFT_ALONE = {
    "quote_all_identifiers": "on",
    "check_function_bodies": "off",
    "jit_above_cost": "0",
    "enable_indexscan": "off",
}
#: Preferred to pg_catalog's by an exact match, or by their place, wherever a name is looked up.
EVIL = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'evil.unnest was called'; END $$;
CREATE FUNCTION evil.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'evil.hashtextextended was called'; END $$;
CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'evil.set_config was called'; END $$;
CREATE FUNCTION evil.pg_is_in_recovery() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'evil.pg_is_in_recovery was called'; END $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'evil.clock_timestamp was called'; END $$;
"""


#: Settings of the test's own statements, whatever the database says.
CALM = " ".join(
    f"-c {key}={value}"
    for key, value in {
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "default_transaction_read_only": "off",
        "datestyle": "ISO",
        "client_encoding": "UTF8",
        "extra_float_digits": "1",
        "row_security": "on",
        "search_path": "pg_catalog",
    }.items()
)


class Hostile:
    """A database with a group in it, under settings that nobody wants."""

    def __init__(self, database: Database) -> None:
        self.conninfo, self.schema = database.conninfo, database.schema
        self.direct = database.conninfo  #: never by way of a pooler
        self.query(EVIL)

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        conninfo = make_conninfo(self.direct, options=CALM, client_encoding="UTF8")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def set_for(self, whose: sql.Composable, **others: str) -> None:
        with psycopg.connect(
            make_conninfo(self.conninfo, options=CALM, client_encoding="UTF8"), autocommit=True
        ) as connection:
            for key, value in (HOSTILE | LEFT_ALONE | others).items():
                said = sql.SQL(value) if key == "search_path" else sql.Literal(value)
                change = sql.SQL("ALTER {} SET {} = {}").format(whose, sql.Identifier(key), said)
                connection.execute(change)

    def reload(self, style: str) -> None:
        """Have the server read its file again; over when a new session shows it."""
        self.query("SELECT pg_reload_conf()")

        def shows() -> bool:
            calm = make_conninfo(self.conninfo, options="-c statement_timeout=0")
            with psycopg.connect(calm, autocommit=True) as connection:
                row = connection.execute("SELECT current_setting('datestyle')").fetchone()
            return row is not None and str(row[0]).startswith(style)

        wait_until(shows)


def set_for_the_server(made: Hostile) -> Iterator[Hostile]:
    """Write the settings into the server's own file, for the time of a test."""
    try:
        made.set_for(sql.SQL("SYSTEM"))
        made.reload("German")
        yield made
    finally:
        made.query("ALTER SYSTEM RESET ALL")
        made.reload("ISO")


@pytest.fixture(params=["role", "database", "environment", "server", "pooler"])
def hostile(request, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    made = Hostile(database)
    if request.param == "server":
        yield from set_for_the_server(made)
        return
    if request.param == "pooler":
        # Its sessions begin as the database has it, and go from client to client: each
        # transaction begins under these limits, so they must leave it time to say its own.
        name = sql.Identifier(str(conninfo_to_dict(database.conninfo)["dbname"]))
        made.set_for(sql.SQL("DATABASE {}").format(name), statement_timeout="300ms")
        with pooler(database.conninfo) as between:
            made.conninfo = between.conninfo
            yield made
        return
    name = sql.Identifier(str(conninfo_to_dict(database.conninfo)["dbname"]))
    user = sql.Identifier(str(conninfo_to_dict(database.conninfo)["user"]))
    match request.param:
        case "role":
            made.set_for(sql.SQL("ROLE {} IN DATABASE {}").format(user, name))
        case "database":
            made.set_for(sql.SQL("DATABASE {}").format(name))
        case "environment":
            options = (f"-c {key}={value.replace(' ', '')}" for key, value in HOSTILE.items())
            monkeypatch.setenv("PGOPTIONS", " ".join(options))
            monkeypatch.setenv("PGDATESTYLE", "German")
            monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
            monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    yield made


def node(hostile: Hostile) -> None:
    with joined_nodes(hostile, "a") as (holder,):
        term = holder.win()
        assert holder.beat().done
        rows = read(
            holder.connection._cursor,
            b"SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s)",
            {"names": list(HOSTILE)},
        )
        assert {name for name, value in rows if value == HOSTILE[name.lower()]} == set()
        assert holder.release(term).done


def looks(hostile: Hostile) -> None:
    now = datetime.now(UTC)
    eye = AdminConnection(hostile.conninfo, hostile.schema, "here", 5.0)
    try:
        assert eye.revision() == migrate.SCHEMA_HEAD
        (groups, history) = eye.read_all(GROUPS, HISTORY, group_id=None, since_s=None)
        assert [row["group_id"] for row in groups] == [GROUP]
        for moment in (eye.server_time(), history[0]["acquired_at"]):
            assert abs(moment - now) < timedelta(minutes=5)
        assert groups[0]["since_age_s"] < 300.0
    finally:
        eye.close()


def administers(hostile: Hostile) -> None:
    with AdminStore(
        hostile.conninfo, schema=hostile.schema, where="here", timeout_s=5.0
    ) as operator:
        operator.add(
            "night", TaskDef(name="t", nodes=("a", "NULL"), spec='{"command": ["\u2192"]}'), who="h"
        )
        operator.declare("night", [TaskDef(name="u")], who="h")
        shown = operator.list("night")
        assert [row["task"] for row in shown] == ["t", "u"]
        assert sorted(shown[0]["definition"].nodes) == ["NULL", "a"]
        assert abs(operator.server_time() - datetime.now(UTC)) < timedelta(minutes=5)


def migrates(hostile: Hostile) -> None:
    migrate.upgrade(hostile.conninfo, "another")
    migrate.check(hostile.conninfo, "another")
    migrate.offer_aliases(hostile.conninfo, "another")


def schedules(hostile: Hostile) -> None:
    with joined_nodes(hostile, "c") as (holder,):
        term = holder.win()
        me = schedule_store.Holding(
            schema=hostile.schema, group=GROUP, term=term, session=holder.session
        )
        connection = schedule_store.open_connection(hostile.conninfo, 5.0)
        try:
            slot = schedule_store.read(connection, me).now
            assert schedule_store.claim(connection, me, slot=slot).claim == Claimed(1)
            told = "caf\udce9 \0 \u2192"
            assert schedule_ends.finish(
                connection, me, slot=slot, outcome="failed", duration_s=1.0, error=told
            )
            row = schedule_store.read(connection, me)
            assert (row.fired_count, row.last_fire_at) == (1, slot)
        finally:
            connection.close()
    ((error,),) = hostile.query(f"SELECT last_error FROM {hostile.schema}.schedule")
    assert error == "caf\\udce9 \\x00 \u2192"


def looks_at_all_hosts(hostile: Hostile) -> None:
    given = conninfo_to_dict(hostile.conninfo)
    twice = {"host": f"{given['host']},{given['host']}", "port": f"{given['port']},{given['port']}"}
    found = [look() for look in hosts.looks(make_conninfo(hostile.conninfo, **twice), 5.0)]
    assert found[0] is not None
    assert len(set(found)) == 1
    assert len(found) == 2


def forgets(hostile: Hostile) -> None:
    forget_group(hostile.conninfo, hostile.schema, GROUP)
    assert hostile.query(f"SELECT * FROM {hostile.schema}.token_history") == []


def writes_under_the_fence(hostile: Hostile) -> None:
    """The user's limits and search_path are the user's, but the commit is durable."""
    hostile.query("CREATE TABLE evil.written (what text)")
    options = (
        "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
        " -c search_path=evil,pg_catalog"
    )
    # A pooler takes no options, and the limits of a user's transaction stay the user's.
    kept = make_conninfo(hostile.direct, options=options)
    with joined_nodes(hostile, "d") as (holder,):
        term = holder.win()
        with fenced_transaction(kept, hostile.schema, GROUP, term, holder.session) as connection:
            durable = connection.execute(text("SHOW synchronous_commit")).scalar_one()
            connection.execute(text("INSERT INTO written VALUES ('a\\b')"))
            moment = connection.execute(text("SELECT now()")).scalar_one()
    assert durable == "on"
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=5)
    assert hostile.query("SELECT what FROM evil.written") == [("a\\b",)]


DOORS = (
    node,
    looks,
    administers,
    migrates,
    schedules,
    looks_at_all_hosts,
    forgets,
    writes_under_the_fence,
)


def test_no_door_obeys_the_settings_of_others(database: Database, hostile: Hostile):
    """E6"""
    with joined_nodes(hostile, "b") as (before,):
        before.release(before.win())

    for door in DOORS:
        door(hostile)


@pytest.mark.parametrize(
    "words", ["status orders", "history orders", "task list -g orders", "db check", "doctor"]
)
def test_no_command_obeys_the_settings_of_others(database: Database, words: str):
    hostile = Hostile(database)
    with joined_nodes(hostile, "b") as (before,):
        before.release(before.win())
    name = sql.Identifier(str(conninfo_to_dict(database.conninfo)["dbname"]))
    hostile.set_for(sql.SQL("DATABASE {}").format(name))
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("COORD_", "PG"))},
        "COORD_DATABASE_URL": hostile.conninfo,
        "COORD_DATABASE_SCHEMA": hostile.schema,
        "PGDATESTYLE": "German",
    }

    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *words.split()],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr

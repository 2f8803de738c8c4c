"""The door to the database refuses, mends and reads anew, whoever comes through it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from coordinator.errors import (
    DatabaseRefusedError,
    OutcomeUnknownError,
    TokenLostError,
    UnsupportedServerError,
)
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.store.admin.admin_store import AdminStore
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.driver import connect as driver
from coordinator.store.driver.password_file import KEY, MARK
from coordinator.store.driver.texts import clean
from coordinator.store.program import schedule as schedule_store
from coordinator.store.program import schedule_ends
from coordinator.store.program.fenced_transaction import fenced_transaction
from coordinator.store.schema import migrate
from tests.conformance.worlds import GROUP, facts_of
from tests.conftest import Database
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.postgres import Server, wait_until

pytestmark = pytest.mark.real


# --- texts of others ------------------------------------------------------------------------------

TOLD = "caf\udce9 \0 \u2192 \u00e9"


@pytest.mark.parametrize(
    ("encoding", "kept"),
    [
        ("UTF8", "caf\\udce9 \\x00 \u2192 \u00e9"),
        ("SQL_ASCII", "caf\\udce9 \\x00 \u2192 \u00e9"),
        ("LATIN1", "caf\\udce9 \\x00 \\u2192 \u00e9"),
        ("EUC_TW", "caf\\udce9 \\x00 \\u2192 \\xe9"),
    ],
)
def test_what_a_database_cannot_hold_is_replaced(encoding: str, kept: str):
    assert clean(TOLD, encoding) == kept


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_program_that_fails_with_any_text_is_recorded(server: Server, encoding: str):
    name = f"encoded_{encoding.lower()}_{threading.get_native_id()}"
    server.query(
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    database = Database(server.conninfo(name), "app")
    try:
        migrate.upgrade(database.conninfo, "app")
        with joined_nodes(database, "a") as (node,):
            term = node.win()
            me = schedule_store.Holding(schema="app", group=GROUP, term=term, session=node.session)
            connection = schedule_store.open_connection(database.conninfo, 5.0)
            slot = schedule_store.read(connection, me).now
            schedule_store.claim(connection, me, slot=slot)

            assert schedule_ends.finish(
                connection, me, slot=slot, outcome="failed", duration_s=1.0, error=TOLD
            )

            kept = connection.execute("SELECT last_error FROM app.schedule").fetchone()
            assert kept == (clean(TOLD, encoding),)
            connection.close()
    finally:
        server.query(f"DROP DATABASE {name} WITH (FORCE)")


# --- whose functions are called -------------------------------------------------------------------

#: A login that may create in public offers functions that fit better than pg_catalog's.
OFFERED = """
GRANT CREATE ON SCHEMA public TO PUBLIC;
CREATE ROLE intruder LOGIN;
SET ROLE intruder;
CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the function of an intruder was called by %', current_user; END $$;
CREATE FUNCTION public.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the function of an intruder was called by %', current_user; END $$;
RESET ROLE;
"""


@pytest.mark.parametrize("schema", ["coord", "public"])
def test_no_function_of_a_stranger_is_called(server: Server, schema: str):
    """CVE-2018-1058: whoever may create in a schema of the search_path would run as an operator."""
    name = f"intruded_{threading.get_native_id()}"
    server.query(f"CREATE DATABASE {name}")
    conninfo = server.conninfo(name)
    try:
        migrate.upgrade(conninfo, schema)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(OFFERED)

        with AdminStore(conninfo, schema=schema, where="here", timeout_s=5.0) as operator:
            operator.add("alpha", TaskDef(name="report"), who="ana")
            operator.declare("alpha", [TaskDef(name="mail")], who="ana")
        database = Database(conninfo, schema)
        with joined_nodes(database, "a") as (node,):
            term = node.win()
            with fenced_transaction(conninfo, schema, GROUP, term, node.session) as connection:
                connection.exec_driver_sql("SELECT 1")
        if schema == "public":
            assert any("REVOKE CREATE" in line for line in migrate.remarks_on(conninfo, schema))
    finally:
        server.query(f"DROP DATABASE {name} WITH (FORCE)")
        server.query("DROP ROLE intruder")


# --- three outcomes of a user's transaction -------------------------------------------------------


def backend_of(connection) -> int:
    return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()


def test_what_broke_before_the_commit_was_not_written(database: Database):
    """F1"""
    database.query("CREATE TABLE written (what text)")
    with joined_nodes(database, "a") as (node,):
        term = node.win()
        conninfo = make_conninfo(database.conninfo, options=f"-c search_path={database.schema}")

        def broken() -> None:
            with fenced_transaction(conninfo, database.schema, GROUP, term, node.session) as user:
                user.exec_driver_sql("INSERT INTO written VALUES ('a')")
                database.query("SELECT pg_terminate_backend(%s)", backend_of(user))
                user.exec_driver_sql("INSERT INTO written VALUES ('b')")

        with pytest.raises(TokenLostError, match="nothing was written"):
            broken()

    assert database.query("SELECT * FROM written") == []


@pytest.mark.parametrize("how", ["pg_terminate_backend", "pg_cancel_backend"])
def test_a_commit_whose_wait_for_a_standby_was_ended_is_unknown(how: str):
    """E5: it is written here, and may be nowhere else."""
    server = Server.create()
    try:
        database = Database(server.conninfo(), "app")
        migrate.upgrade(database.conninfo, "app")
        server.query("CREATE TABLE written (what text)")
        with joined_nodes(database, "a") as (node,):
            term = node.win()
            server.reload(synchronous_standby_names="nobody")
            waiting = (
                "SELECT pid FROM pg_stat_activity"
                " WHERE wait_event = 'SyncRep' AND query ILIKE 'commit%'"
            )

            def end_the_wait() -> None:
                with server.connect() as other:
                    found = []
                    wait_until(lambda: found.extend(other.execute(waiting).fetchall()) or found)
                    other.execute(f"SELECT {how}(%s)", found[0])

            ender = threading.Thread(target=end_the_wait, daemon=True)
            ender.start()
            with (
                pytest.raises(OutcomeUnknownError, match="read again what it w"),
                fenced_transaction(database.conninfo, "app", GROUP, term, node.session) as user,
            ):
                user.exec_driver_sql("INSERT INTO written VALUES ('a')")
            ender.join(30)
        assert server.query("SELECT what FROM written") == [("a",)]
    finally:
        server.remove()


# --- passwords, versions --------------------------------------------------------------------------


def test_a_password_is_read_anew_for_each_connection(tmp_path):
    """A password is read from its file for each new connection."""
    server = Server.create(tcp=True)
    try:
        migrate.upgrade(server.conninfo(), "app")
        server.query("ALTER ROLE coord PASSWORD 'first'")
        hba = server.data / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.query("SELECT pg_reload_conf()")
        secret = tmp_path / "password"
        secret.write_text("first\n")
        conninfo = server.conninfo(tcp=True, **{KEY: f"{MARK}{secret}"})
        store = PostgresStore(conninfo, "app", facts_of("a"))
        store.connect(5.0).close()

        server.query("ALTER ROLE coord PASSWORD 'second'")
        with pytest.raises(DatabaseRefusedError, match="password authentication failed"):
            store.connect(5.0)
        secret.write_text("second\n")

        store.connect(5.0).close()
        secret.unlink()
        with pytest.raises(DatabaseRefusedError, match=r"passwordFile .*: cannot be read"):
            store.connect(5.0)
    finally:
        server.remove()


def _said(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


@contextmanager
def server_of_version(version: str) -> Iterator[str]:
    """A server that greets as a real one of that version does, and is asked nothing more."""
    told = {"server_version": version, "client_encoding": "UTF8", "server_encoding": "UTF8"}
    greeting = _said(b"R", struct.pack("!I", 0))
    for key, value in told.items():
        greeting += _said(b"S", f"{key}\0{value}\0".encode())
    greeting += _said(b"K", struct.pack("!II", 1, 1)) + _said(b"Z", b"I")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(greeting)
                client.recv(4096)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        yield f"host=127.0.0.1 port={port} user=u dbname=d sslmode=disable gssencmode=disable"
        thread.join(10)


def test_a_server_that_is_too_old_is_refused_in_words():
    with (
        server_of_version("13.14 (Debian 13.14-1)") as conninfo,
        pytest.raises(
            UnsupportedServerError, match=r"PostgreSQL 13.14.*use PostgreSQL 14 or later"
        ),
    ):
        driver.connect(conninfo, timeout_s=5.0)


def test_the_oldest_supported_server_is_let_in():
    with server_of_version("14.0") as conninfo:
        driver.connect(conninfo, timeout_s=5.0).close()


def test_several_hosts_mean_the_one_that_is_primary(server: Server, database: Database):
    """A standby that comes first is passed over, whoever connects."""
    standby = server.clone_standby("first")
    try:
        hosts = f"{standby.sockets},{server.sockets}"
        conninfo = make_conninfo(
            database.conninfo, host=hosts, port=f"{standby.port},{server.port}"
        )

        with driver.connect(conninfo) as connection:
            row = connection.execute("SELECT pg_is_in_recovery()").fetchone()

        assert row == (False,)
    finally:
        standby.remove()

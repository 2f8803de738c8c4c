"""Connections that must not be used, requests that hang, and outcomes that nobody knows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from psycopg.conninfo import make_conninfo

from coordinator.errors import (
    CoordError,
    DatabaseRefusedError,
    DatabaseUnreachableError,
    OutcomeUnknownError,
    SchemaError,
    UnsafeServerError,
)
from coordinator.protocol.messages.requests import Beat, Join, RaiseFloor, ReadRoster, Settle
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.schema import migrate
from coordinator.store.sql.view import channel_of
from tests.conformance.worlds import facts_of
from tests.support.bounds import within
from tests.support.nodes.store_nodes import connected_node, joined_nodes
from tests.support.servers.postgres import Server, wait_until

pytestmark = pytest.mark.real

UNBLOCKED_WITHIN_S = 0.5
SECRET = "hush-hush-42"


@dataclass(frozen=True)
class Place:
    """A database as `connected_node` wants it."""

    conninfo: str
    schema: str = "app"


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A migrated server that the test may reconfigure, promote and stop."""
    primary = Server.create(tcp=True)
    try:
        migrate.upgrade(primary.conninfo(), "app")
        yield primary
    finally:
        primary.remove()


def store(conninfo: str, schema: str = "app") -> PostgresStore:
    return PostgresStore(conninfo, schema, facts_of("a"))


def in_thread(call: Callable[[], object]) -> Future[object]:
    """Start a call in a thread of its own; its end is waited for by `result`."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except CoordError as error:
            future.set_exception(error)

    threading.Thread(target=run, name="asker", daemon=True).start()
    return future


# --- connect ------------------------------------------------------------------------------------


def test_a_server_that_does_not_listen_is_unreachable(tmp_path):
    with pytest.raises(DatabaseUnreachableError, match=r"No such file|Connection refused"):
        store(f"host={tmp_path} dbname=none").connect(2.0)


def test_a_database_without_our_schema_is_refused(unmigrated):
    with pytest.raises(SchemaError, match="coord db upgrade"):
        store(unmigrated.conninfo, unmigrated.schema).connect(5.0)


def test_a_newer_schema_is_refused(database):
    database.query("UPDATE coord_version SET version_num = '9999'")

    with pytest.raises(SchemaError, match="newer"):
        store(database.conninfo, database.schema).connect(5.0)


def test_the_address_of_a_node_is_its_own_or_the_one_that_the_server_sees(own_server):
    for node, tcp, given in (("a", True, ""), ("b", True, "web-1:80"), ("c", False, "")):
        facts = replace(facts_of(node), address=given)
        with closing(PostgresStore(own_server.conninfo(tcp=tcp), "app", facts).connect(5.0)) as it:
            assert it.ask(Join(session=str(uuid.uuid4()), previous=None), 5.0).done

    rows = own_server.query("SELECT task_id, address FROM app.coord_nodes ORDER BY task_id")
    assert rows == [("a", "127.0.0.1"), ("b", "web-1:80"), ("c", None)]


def test_wrong_password_is_refused_without_a_secret(own_server):
    own_server.query("CREATE ROLE guest LOGIN PASSWORD 'right'")
    hba = own_server.data / "pg_hba.conf"
    hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    own_server.query("SELECT pg_reload_conf()")
    conninfo = own_server.conninfo(tcp=True, user="guest", password=SECRET)

    with pytest.raises(DatabaseRefusedError, match="password") as caught:
        store(conninfo).connect(5.0)

    assert SECRET not in str(caught.value)


def test_a_role_without_rights_is_refused(database):
    database.query("CREATE ROLE outsider LOGIN")
    try:
        with pytest.raises(DatabaseRefusedError, match="permission denied"):
            store(make_conninfo(database.conninfo, user="outsider"), database.schema).connect(5.0)
    finally:
        database.query("DROP ROLE outsider")


def test_a_server_without_fsync_is_refused(own_server):
    """E6: it may lose acknowledged commits."""

    own_server.stop()
    own_server.settings["fsync"] = "off"
    own_server.start()

    with pytest.raises(UnsafeServerError, match="fsync = off"):
        store(own_server.conninfo()).connect(5.0)


def test_a_role_with_synchronous_commit_off_is_overruled(database):
    """E6: in every transaction."""

    conninfo = make_conninfo(database.conninfo, options="-c synchronous_commit=off")

    with connected_node(Place(conninfo, database.schema), "a") as node:
        shown = node.connection._connection.execute("SHOW synchronous_commit").fetchone()

    assert shown == ("on",)


def test_locks_and_open_transactions_end_before_the_asker_gives_up(database):
    with connected_node(database, "a", timeout_s=2.0) as node:
        shown = [
            node.connection._connection.execute(f"SHOW {name}").fetchone()
            for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        ]

    assert shown == [("1s",), ("10s",), ("1600ms",)]


def test_operators_limits_in_the_conninfo_are_kept(database):
    conninfo = make_conninfo(database.conninfo, application_name="mine", keepalives_idle=77)

    with connected_node(Place(conninfo, database.schema), "a") as node:
        used = node.connection._connection.info.get_parameters()

    assert used["application_name"] == "mine"
    assert used["keepalives_idle"] == "77"


def test_the_stores_modules_do_not_load_sqlalchemy():
    code = (
        "import sys, coordinator.store.connection.postgres;"
        "sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'alembic', 'pydantic')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_channels_of_groups_and_schemas_differ_and_are_short():
    channels = {channel_of("app", "g"), channel_of("app", "h"), channel_of("other", "g")}

    assert len(channels) == 3
    assert {len(channel) for channel in channels} == {26}


# --- hanging ------------------------------------------------------------------------------------


def test_abort_unblocks_an_ask_that_waits_for_a_row_lock(database):
    with joined_nodes(database, "a") as (node,), database.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM health_check FOR UPDATE")
        asked = in_thread(lambda: node.connection.ask(Beat(session=node.session), 30.0))
        wait_for_backend(database, "Lock")

        aborted_at = time.monotonic()
        node.connection.abort()
        with pytest.raises(OutcomeUnknownError):
            asked.result(5)
        took_s = time.monotonic() - aborted_at

    within(took_s, UNBLOCKED_WITHIN_S)


def test_abort_cancels_no_statement(database):
    """The server goes on with its work: the outcome is unknown, and here it becomes a yes."""
    with joined_nodes(database, "a") as (node,), database.connect() as other:
        other.execute("BEGIN")
        (before,) = other.execute("SELECT beat FROM health_check FOR UPDATE").fetchone()
        asked = in_thread(lambda: node.connection.ask(Beat(session=node.session), 30.0))
        wait_for_backend(database, "Lock")
        node.connection.abort()
        with pytest.raises(OutcomeUnknownError):
            asked.result(5)

        other.execute("COMMIT")

        wait_until(lambda: database.query("SELECT beat FROM health_check") == [(before + 1,)], 5)


def test_abort_may_come_at_any_time_from_anywhere(database):
    with joined_nodes(database, "a") as (node,):
        node.connection.abort()
        node.connection.abort()
        with pytest.raises(OutcomeUnknownError):
            node.beat()
        with pytest.raises(DatabaseUnreachableError):
            node.connection.heard()
        node.connection.close()
        node.connection.abort()


def test_a_lock_that_is_not_given_ends_the_beat_for_sure(database):
    with joined_nodes(database, "a") as (node,), database.connect() as other:
        other.execute("BEGIN")
        (before,) = other.execute("SELECT beat FROM health_check FOR UPDATE").fetchone()

        asked_at = time.monotonic()
        with pytest.raises(DatabaseUnreachableError, match="lock timeout"):
            node.connection.ask(Beat(session=node.session), 0.4)
        took_s = time.monotonic() - asked_at
        other.execute("COMMIT")

    within(took_s, 0.4)
    assert database.query("SELECT beat FROM health_check") == [(before,)]


def test_a_killed_backend_leaves_a_write_unknown_and_a_read_failed(database):
    with joined_nodes(database, "a", "b") as (writer, reader):
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        with pytest.raises(OutcomeUnknownError):
            writer.beat()
        with pytest.raises(DatabaseUnreachableError):
            reader.ask(ReadRoster())


def test_a_notification_during_an_ask_is_heard_afterwards(database):
    with joined_nodes(database, "a", "b") as (first, second):
        first.leave()

        second.beat()

        assert second.connection.heard()
        assert not second.connection.heard()


# --- replication --------------------------------------------------------------------------------


def test_commit_whose_wait_for_a_standby_was_cancelled_is_unknown(own_server):
    """E5: PostgreSQL reports success with a WARNING; the commit may exist on this server alone."""
    with joined_nodes(Place(own_server.conninfo()), "a") as (node,):
        own_server.reload(synchronous_standby_names="nobody")
        asked = in_thread(lambda: node.connection.ask(Beat(session=node.session), 30.0))
        wait_for_backend(own_server, "SyncRep", column="wait_event")

        own_server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )

        with pytest.raises(OutcomeUnknownError, match="synchronous"):
            asked.result(10)


def test_abort_unblocks_a_commit_that_waits_for_a_standby(own_server):
    with joined_nodes(Place(own_server.conninfo()), "a") as (node,):
        own_server.reload(synchronous_standby_names="nobody")
        asked = in_thread(lambda: node.connection.ask(Beat(session=node.session), 1.0))
        wait_for_backend(own_server, "SyncRep", column="wait_event")

        aborted_at = time.monotonic()
        node.connection.abort()

        with pytest.raises(OutcomeUnknownError):
            asked.result(5)
        within(time.monotonic() - aborted_at, UNBLOCKED_WITHIN_S)
        own_server.reload(synchronous_standby_names="")


def test_a_standby_is_unreachable_until_it_is_promoted_and_then_unsettled(own_server):
    """E2: a promotion makes a new identity."""

    with joined_nodes(Place(own_server.conninfo()), "a") as (node,):
        node.win()
        before = node.look()
    standby = own_server.clone_standby()
    try:
        own_server.wait_for_standby()
        with pytest.raises(DatabaseUnreachableError, match="standby"):
            store(standby.conninfo()).connect(5.0)
        own_server.stop()
        standby.promote()
        after_promotion(Place(standby.conninfo()), before.identity)
    finally:
        standby.remove()


def after_promotion(database: Place, old_identity) -> None:
    with connected_node(database, "b") as node:
        node.join()
        view = node.look()
        assert view.identity.system_identifier == old_identity.system_identifier
        assert view.identity.timeline == 2
        assert view.identity.started_at != old_identity.started_at
        assert not view.settled
        assert view.longest_liveness_s == 6.0
        assert not node.take(view).done

        early = node.ask(Settle(identity=view.identity, waited_s=60.0))
        assert not early.done, "the server has not waited for so long"
        settled = node.ask(Settle(identity=view.identity, waited_s=0.0))

        assert settled.done
        assert node.take(settled.view).term > 1_600_000_000_000
        assert node.ask(RaiseFloor(term=5)).view.token.term_floor == 5


def test_the_standby_of_an_empty_primary_is_unreachable_not_without_schema(own_server):
    own_server.query("DROP SCHEMA app CASCADE")
    standby = own_server.clone_standby()
    try:
        with pytest.raises(DatabaseUnreachableError, match="standby"):
            store(standby.conninfo()).connect(5.0)
    finally:
        standby.remove()


def test_several_hosts_lead_to_the_one_that_can_be_written_to(own_server):
    standby = own_server.clone_standby()
    try:
        conninfo = make_conninfo(
            own_server.conninfo(),
            host=f"{standby.sockets},{own_server.sockets}",
            port=f"{standby.port},{own_server.port}",
            target_session_attrs="read-write",
        )
        with joined_nodes(Place(conninfo), "a") as (node,):
            assert node.win() > 10**9  # by the clock, as a copy streams (N1)
    finally:
        standby.remove()


def test_abort_and_close_leave_no_descriptor_behind(database):
    with connected_node(database, "warm-up"):
        pass
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(5):
        with connected_node(database, "a") as node:
            node.connection.abort()

    assert len(os.listdir("/proc/self/fd")) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("asker")]


def wait_for_backend(database, event: str, *, column: str = "wait_event_type") -> None:
    """Wait until a backend waits for `event`."""
    query = f"SELECT count(*) > 0 FROM pg_stat_activity WHERE {column} = '{event}'"
    wait_until(lambda: database.query(query) == [(True,)], timeout_s=10)


# --- rows that somebody deletes under live connections ------------------------------------------


def test_a_deleted_token_comes_back_as_its_history_knows_it(database):
    """O7: the first look that misses the row makes it anew, held by the session that still runs."""
    with joined_nodes(database, "a", "b") as (holder, standby):
        term = holder.win()
        database.query("DELETE FROM token_holder")

        assert standby.look().lacks_rows
        seen = standby.look()

        assert not seen.lacks_rows
        assert (seen.token.node, seen.token.session) == ("a", holder.session)
        assert seen.token.term == term


def test_a_deleted_token_that_was_released_comes_back_free_and_never_lower(database):
    """N2"""
    with joined_nodes(database, "a") as (node,):
        term = node.win()
        node.release(term)
        database.query("DELETE FROM token_holder")
        database.query("DELETE FROM group_record")

        node.look()
        seen = node.look()

        assert (seen.token.session, seen.token.term) == (None, term)
        assert seen.group_version >= 1
        assert node.win() == term + 1


def test_a_deleted_epoch_comes_back_by_the_first_look_and_is_not_settled(database):
    """O7, E3: one wait is enough, and what the history knows is no new database's."""
    with joined_nodes(database, "a", "b") as (holder, standby):
        holder.win()
        database.query("TRUNCATE database_epoch, token_holder, health_check, group_record")

        assert standby.look().lacks_rows
        seen = standby.look()

        assert seen.identity.branch
        assert not seen.lacks_rows
        assert not seen.settled
        assert standby.look().identity == seen.identity


def test_a_token_without_history_is_not_free_while_its_holder_may_live(database):
    """N1, N2: a fresh node waits for the longest interval, and no term is given twice."""
    with joined_nodes(database, "cut-off", liveness_s=30.0) as (holder,):
        term = holder.win()
        database.query("DELETE FROM token_holder")
        database.query("DELETE FROM token_history")

        with joined_nodes(database, "fresh", liveness_s=3.0) as (fresh,):
            seen = fresh.look()
            assert (seen.token.session, seen.token.term) == (None, 0)
            assert seen.token.term_floor > term
            assert not fresh.take(seen).done

            query = "UPDATE token_holder SET released_at = released_at - interval '{}'"
            database.query(query.format("4 s"))
            assert not fresh.take(fresh.look()).done
            database.query(query.format("26 s"))
            assert fresh.win() > seen.token.term_floor


def test_a_token_without_history_of_nodes_that_all_have_ended_is_free_and_its_term_is_new(database):
    with joined_nodes(database, "a") as (before,):
        term = before.win()
        assert before.leave().done
        database.query("DELETE FROM token_holder")
        database.query("DELETE FROM token_history")

        with joined_nodes(database, "b") as (fresh,):
            assert fresh.win() > term + 1_000_000_000


def test_nodes_that_start_together_in_a_new_group_wait_for_nothing(database):
    """The token's row is made before anybody has joined; later connects make no other."""
    with connected_node(database, "a") as first, connected_node(database, "b") as second:
        assert first.join().done
        with joined_nodes(database, "c") as (third,):
            assert second.join().done
            assert third.win() == 1

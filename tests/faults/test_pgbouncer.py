"""A pooler in transaction mode between the nodes and their database: slower, and never wrong.

It keeps nothing of a session: no setting, no LISTEN, no prepared statement. Nodes find that out,
set in each transaction what it needs, and poll; everything else is as without a pooler.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from coordinator import Coordinator
from coordinator.errors import CoordError, OutcomeUnknownError, TokenLostError
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.program.fenced_transaction import fenced_transaction
from coordinator.store.schema import migrate
from tests.conformance.worlds import Node, facts_of
from tests.support.bounds import within
from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.nodes.store_nodes import joined_nodes, settle
from tests.support.servers.pgbouncer import pooler
from tests.support.servers.postgres import Server, wait_until
from tests.support.servers.round_trips import counted

#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0
NO_PUSH = "passes no notifications on"


@dataclass(frozen=True)
class Place:
    """A database as `joined_nodes` wants it."""

    conninfo: str
    schema: str


@pytest.fixture
def pooled(database):
    """The test's database, behind a pooler in transaction mode."""
    with pooler(database.conninfo) as made:
        yield made


@pytest.fixture
def group(tmp_path, pooled, database):
    with bed(tmp_path, pooled.conninfo, database.schema) as made:
        yield made


def started(group, *names: str):
    for name in names:
        group.start(name)
    first = group.wait_for_run()
    group.wait_for_standbys(len(names) - 1)
    return first


def last_beat_wall(database, node: str) -> float:
    statement = "SELECT extract(epoch FROM last_heartbeat)::float8 FROM health_check"
    return float(str(database.query(statement + " WHERE task_id = %s", node)[0][0]))


def handover_s(group, first) -> float:
    """Stop the holder; return how long nothing ran between the two programs."""
    # Who has just lost the race for the first term tries no other one for so long.
    eventually(lambda: group.runs()[-1].last > first.first + group.heartbeat_s / 4, 5, "it runs")
    group.nodes[first.node].process.terminate()
    second = group.wait_for_run(after=first.term)
    old = next(run for run in group.runs() if run.term == first.term)
    assert group.nodes[first.node].process.wait(5) == 0
    assert overlaps(group.runs()) == []
    return second.first - old.last


# --- nodes ----------------------------------------------------------------------------------------


def test_a_handover_without_notifications_takes_at_most_one_heartbeat(group):
    """O5: the nodes say at their start that they have to poll."""
    group.liveness_s, group.heartbeat_s = 6.0, 1.0
    first = started(group, "node-1", "node-2")

    took_s = handover_s(group, first)

    print(f"\nhandover by polling every {group.heartbeat_s:g} s: {took_s:.3f} s")
    assert all(NO_PUSH in node.said() for node in group.nodes.values()), group.story()
    within(took_s, group.heartbeat_s + 0.1 + MACHINE_S / 2)


def test_a_handover_through_a_pooler_that_keeps_sessions_is_pushed(tmp_path, database):
    """O5: such a pooler passes notifications on, and the nodes find that out as well."""
    with (
        pooler(database.conninfo, mode="session") as kept,
        bed(tmp_path, kept.conninfo, database.schema) as group,
    ):
        group.liveness_s, group.heartbeat_s = 12.0, 3.0
        first = started(group, "node-1", "node-2")

        took_s = handover_s(group, first)

        print(f"\nhandover by push: {took_s:.3f} s")
        assert NO_PUSH not in group.story()
        within(took_s, 0.1 + MACHINE_S / 2)


def test_kills_of_the_holder_behind_a_pooler_are_taken_over_in_time(group, database):
    """The race, its SERIALIZABLE level and its limits hold within each transaction."""
    holding = started(group, "node-1", "node-2", "node-3")
    bound_s = group.liveness_s + group.heartbeat_s + 0.1 + MACHINE_S

    for _ in range(2):
        group.nodes[holding.node].send(signal.SIGKILL, "all")
        dead, holding = holding, group.wait_for_run(after=holding.term)
        within(holding.first_wall - last_beat_wall(database, dead.node), bound_s)
        group.nodes[dead.node].process.wait(5)

    assert overlaps(group.runs()) == []
    assert terms_rise(group.runs())


def test_a_death_of_the_agent_behind_a_pooler_is_taken_over_at_once(group):
    """The spare buries the session through the pooler, without the trial that a start allows."""
    group.liveness_s, group.heartbeat_s = 6.0, 0.5
    first = started(group, "node-1", "node-2")
    killed_at = time.clock_gettime(time.CLOCK_BOOTTIME)

    group.nodes[first.node].send(signal.SIGKILL, "agent")

    second = group.wait_for_run(after=first.term)
    within(second.first - killed_at, group.heartbeat_s + 0.5 + MACHINE_S / 2)
    assert overlaps(group.runs()) == []


def test_a_pooler_that_crashes_and_comes_back_loses_nothing(group, pooled):
    group.liveness_s, group.heartbeat_s = 6.0, 0.5
    first = started(group, "node-1", "node-2")

    for _ in range(3):
        said = [node.said().count("answers again") for node in group.nodes.values()]
        pooled.restart()
        back = lambda said=said: all(  # noqa: E731
            node.said().count("answers again") > before
            for node, before in zip(group.nodes.values(), said, strict=True)
        )
        eventually(back, 15, lambda: f"both are back{group.story()}")
        # A connection that outlives some heartbeats is no sign of an idle limit (O3).
        due = group.runs()[-1].last + 3 * group.heartbeat_s
        eventually(lambda due=due: group.runs()[-1].last > due, 15, "the program runs on")

    assert [run.term for run in group.runs()] == [first.term]


# --- what a transaction needs ---------------------------------------------------------------------


def test_nothing_that_a_node_sets_reaches_the_next_one_in_its_session(pooled, database):
    """The other users of a pool must not run under our limits, nor hear what we listen to."""
    with psycopg.connect(pooled.conninfo, autocommit=True, prepare_threshold=None) as other:
        wait_until(lambda: len({session_of(other) for _ in range(9)}) >= 3, 5)
        with joined_nodes(Place(pooled.conninfo, database.schema), "a", "b") as (first, second):
            first.win()
            for node in (first, second) * 5:
                node.beat()

        seen = {other.execute(SESSION).fetchone() for _ in range(9)}

    assert len({pid for pid, *_ in seen}) >= 3
    assert {tuple(shown) for _, *shown in seen} == {
        ("0", "0", "0", "on", "on", "auto", "notice", 0, 0)
    }


SESSION = """
SELECT pg_backend_pid(),
    current_setting('lock_timeout'), current_setting('statement_timeout'),
    current_setting('idle_in_transaction_session_timeout'),
    current_setting('enable_seqscan'), current_setting('jit'),
    current_setting('plan_cache_mode'), current_setting('client_min_messages'),
    (SELECT count(*) FROM pg_prepared_statements),
    (SELECT count(*) FROM pg_listening_channels())
"""


def session_of(connection) -> object:
    return connection.execute("SELECT pg_backend_pid()").fetchone()


def test_a_beat_in_a_lent_session_is_still_one_message(pooled, database, tmp_path):
    """Begin, limits, heartbeat and commit: over a slow network four round trips were too many."""
    with joined_nodes(Place(pooled.conninfo, database.schema), "a") as (node,):
        node.win()
        settle(node)
        pgconn = node.connection._connection.pgconn
        with (tmp_path / "trace").open("w") as trace:
            pgconn.trace(trace.fileno())
            for _ in range(5):
                assert node.beat().done
            pgconn.untrace()

    lines = (tmp_path / "trace").read_text().splitlines()
    sent = [line.split("\t")[3] for line in lines if "\tF\t" in line]
    assert sent == ["Query"] * 5


def test_a_race_in_a_lent_session_takes_no_more_round_trips_than_in_an_own_one(pooled, database):
    with joined_nodes(Place(pooled.conninfo, database.schema), "a") as (node,):
        view = node.look()

        taken, take_trips = counted(node, lambda: node.take(view))
        released, release_trips = counted(node, lambda: node.release(taken.term))

    assert taken.done
    assert released.done
    assert (take_trips, release_trips) == (2, 1)


def test_a_lock_is_not_waited_for_longer_than_the_request_may_take(pooled, database):
    with (
        joined_nodes(Place(pooled.conninfo, database.schema), "a") as (node,),
        database.connect() as other,
    ):
        other.execute("BEGIN")
        other.execute("SELECT FROM health_check FOR UPDATE")

        asked_at = time.monotonic()
        with pytest.raises(CoordError, match="lock timeout"):
            node.connection.ask(beat_of(node), 0.4)

        within(time.monotonic() - asked_at, 0.4)
        other.execute("ROLLBACK")


def test_beats_and_takes_wait_for_the_standby_although_the_role_does_not():
    """E6: the setting of the role holds in every session of the pool; ours in each transaction."""
    server = Server.create()
    try:
        migrate.upgrade(server.conninfo(), "app")
        server.query("ALTER ROLE coord SET synchronous_commit = off")
        with (
            pooler(server.conninfo()) as pooled,
            ThreadPoolExecutor(1) as pool,
            joined_nodes(Place(pooled.conninfo, "app"), "a") as (node,),
        ):
            server.reload(synchronous_standby_names="nobody")
            for ask in (node.beat, node.win):
                asked = pool.submit(ask)
                wait_until(lambda: waiting_for_standby(server) == 1, 5)
                server.query(
                    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event = 'SyncRep'"
                )
                assert_unknown(asked)
            server.reload(synchronous_standby_names="")
    finally:
        server.remove()


def beat_of(node: Node):
    from coordinator.protocol.messages.requests import Beat

    return Beat(session=node.session)


def waiting_for_standby(server: Server) -> int:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    return int(server.query(statement)[0][0])


def assert_unknown(asked: Future[object]) -> None:
    """E5: the answer says COMMIT, the warning before it says that nobody else may have it."""
    with pytest.raises(OutcomeUnknownError, match="synchronous"):
        asked.result(5)


def test_a_fenced_transaction_through_a_pooler_is_refused_to_the_old_holder(pooled, database):
    """F1: the fence is a matter of one transaction, whichever node has the session."""
    place = Place(pooled.conninfo, database.schema)
    database.query("CREATE TABLE ledger (term bigint)")
    with joined_nodes(place, "a", "b") as (old, new):
        term = old.win()
        write = fenced_writer(place, database)
        write(term, old.session)
        assert new.take(new.look()).done

        with pytest.raises(TokenLostError):
            write(term, old.session)
        write(term + 1, new.session)

    assert database.query("SELECT term FROM ledger") == [(term,), (term + 1,)]


def fenced_writer(place: Place, database) -> Callable[[int, str], None]:
    def write(term: int, session: str) -> None:
        with fenced_transaction(
            place.conninfo, place.schema, "orders", term, session
        ) as connection:
            connection.exec_driver_sql(f"INSERT INTO {database.schema}.ledger VALUES ({term})")

    return write


def test_a_pooler_that_leads_to_another_server_is_noticed(pooled, database):
    """E1: the rows of a copy look the same, and even say that the old identity is settled."""
    copy = Server.create()
    try:
        dbname = psycopg.conninfo.conninfo_to_dict(database.conninfo)["dbname"]
        copy.query(f"CREATE DATABASE {dbname}")
        conninfo = make_conninfo(copy.conninfo(), dbname=dbname)
        migrate.upgrade(conninfo, database.schema)
        with joined_nodes(Place(pooled.conninfo, database.schema), "a") as (node,):
            view = node.look()
            copy_rows(database, conninfo)
            pooled.lead_to(copy.conninfo())
            wait_until(lambda: led_to(pooled, copy), 5)

            with pytest.raises(OutcomeUnknownError, match="another server"):
                node.take(view)

            again = Node(facts_of("a"), store(pooled, database).connect(5.0), node.session)
            assert not again.look().settled
            assert again.look().token.term == 0
            again.connection.close()
    finally:
        copy.remove()


def test_u1_processes_hold_tokens_behind_a_pooler(pooled, database):
    """Exchanges are transactions of their own there; releases are seen by looking."""
    settings = {
        "group_id": "orders",
        "database_url": pooled.conninfo,
        "schema": database.schema,
        "heartbeat_frequency": 0.2,
        "liveness_check_interval": 5.0,
    }
    terms: list[int] = []
    inside = 0

    def work(coordinator: Coordinator) -> None:
        nonlocal inside
        for _ in range(4):
            with coordinator.token("x", timeout=60) as token, token.transaction() as connection:
                inside += 1
                assert inside == 1
                connection.exec_driver_sql("SELECT 1")
                terms.append(token.term)
                inside -= 1

    with (
        Coordinator(task_id="a", **settings) as first,
        Coordinator(task_id="b", **settings) as second,
        ThreadPoolExecutor(4) as pool,
    ):
        for done in [pool.submit(work, each) for each in (first, second, first, second)]:
            done.result(120)

    assert terms == list(range(1, 17))
    assert database.query("SELECT count(*) FROM token_holder WHERE session IS NOT NULL") == [(0,)]


def copy_rows(database, conninfo: str) -> None:
    """Give a copy what a logical replica would have."""
    with (
        database.connect() as source,
        psycopg.connect(conninfo, options=f"-c search_path={database.schema}") as target,
    ):
        for table in ("database_epoch", "health_check", "token_holder", "group_record"):
            target.execute(f"DELETE FROM {table}")
            with (
                source.cursor().copy(f"COPY {table} TO STDOUT") as rows,
                target.cursor().copy(f"COPY {table} FROM STDIN") as into,
            ):
                for row in rows:
                    into.write(row)


def led_to(pooled, server: Server) -> bool:
    port = "SELECT system_identifier FROM pg_control_system()"
    with psycopg.connect(pooled.conninfo, autocommit=True) as connection:
        return connection.execute(port).fetchall() == server.query(port)


def store(pooled, database) -> PostgresStore:
    return PostgresStore(pooled.conninfo, database.schema, facts_of("a"))

"""A heartbeat costs the server one statement, one commit, one HOT row, keys only."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coordinator.protocol.messages.requests import Beat
from coordinator.protocol.node.state.last_seen import LOOK_EVERY
from coordinator.store.driver.moments import wall_ms
from coordinator.store.node import heartbeat
from coordinator.store.sql.statement import named
from coordinator.store.sql.view import watched
from tests.support.nodes.store_nodes import connected_node, joined_nodes, settle
from tests.support.servers.postgres import wait_until
from tests.support.servers.round_trips import counted

pytestmark = pytest.mark.real

BEATS = 300
#: Pages are pruned while beats go on; a first update per fresh page may find no room yet.
HOT_SHARE_MIN = 0.97


def test_a_beat_is_one_commit_and_one_row(database):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
    # A server counts what a session wrote when that session ends: two joins, one taking.
    wait_until(lambda: _written(database)["health_check"] == (2, 3, 0))
    before = _written(database)

    with connected_node(database, "standby") as again:
        again.session = standby.session
        xids = _next_xid(database)
        for _ in range(BEATS):
            assert again.beat().done
        commits = _next_xid(database) - xids

    wait_until(lambda: _written(database)["health_check"][1] >= 3 + BEATS)
    assert _written(database) == before | {"health_check": (2, 3 + BEATS, 0)}
    # The server's own housekeeping may take a transaction or two.
    assert BEATS <= commits <= BEATS + 5


def test_beats_are_hot(database):
    with joined_nodes(database, "holder") as (holder,):
        holder.win()
        for _ in range(BEATS):
            holder.beat()

    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relname='health_check'"
    wait_until(lambda: database.query(query)[0][0] >= BEATS)
    updated, hot = database.query(query)[0]
    assert hot / updated >= HOT_SHARE_MIN


def test_a_node_tells_its_clock_when_it_joins_and_with_each_look_at_everything(database):
    """For people; the other heartbeats write nothing but themselves."""
    ask = "SELECT clock_offset_s FROM coord_nodes WHERE task_id = 'standby'"
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        ((joined_s,),) = database.query(ask)
        holder.win()
        settle(standby)
        database.query("UPDATE health_check SET clock_ms = 86400000")
        told = []
        for _ in range(LOOK_EVERY):
            standby.connection.heard()
            standby.beat()
            told.append(database.query(ask)[0][0])

    assert abs(joined_s) < 3600
    assert told.count(86_400) >= LOOK_EVERY // 2
    assert abs(told[-1]) < 3600


@pytest.mark.parametrize("ahead_s", [90, -90])
def test_a_clock_that_is_ahead_has_a_positive_offset(database, ahead_s):
    with joined_nodes(database, "a") as (node,):
        seen_ms = database.query("SELECT (date_part('epoch', now()) * 1000)::bigint")[0][0]
        params = node.connection._place.params(mine=node.session, wall_ms=seen_ms + 1000 * ahead_s)
        statement = named(heartbeat.BEAT_AND_LOOK, database.schema)
        node.connection._connection.execute(statement, params)
        ((offset_s,),) = database.query("SELECT clock_offset_s FROM coord_nodes")

    assert ahead_s - 60 < offset_s <= ahead_s


@pytest.mark.parametrize("role", ["alone", "holder", "standby"])
@pytest.mark.parametrize("hosts_tasks", [False, True], ids=["program", "tasks"])
def test_a_beat_is_one_message_exchange(database, hosts_tasks, role):
    known = {"hosts_tasks": hosts_tasks}
    with (
        joined_nodes(database, "a", "b", **known) as (node, other),
        tempfile.TemporaryDirectory() as scratch,
    ):
        if role != "alone":
            (node if role == "holder" else other).win()
        settle(node)
        pgconn = node.connection._connection.pgconn
        path = Path(scratch, "trace")
        with path.open("w") as trace:
            pgconn.trace(trace.fileno())
            for _ in range(10):
                node.beat()
                other.beat()
            pgconn.untrace()
        sent = [line.split("\t")[3] for line in path.read_text().splitlines() if "\tF\t" in line]

    # Bind, Describe, Execute and Sync leave in one packet; nothing is parsed again.
    assert sent.count("Execute") == 10
    assert sent.count("Sync") == 10
    assert "Parse" not in sent
    assert "Query" not in sent


def test_no_beat_of_a_connection_has_to_be_prepared_first(database):
    """On a slow path, a second round trip is what a heartbeat has no time for."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        with connected_node(database, "standby") as again:
            again.session = standby.session

            trips = [counted(again, again.beat)[1] for _ in range(3)]

    assert trips == [1, 1, 1]


@pytest.mark.parametrize("hosts_tasks", [False, True], ids=["program", "tasks"])
@pytest.mark.parametrize(
    "statement", [heartbeat.BEAT_AND_LOOK, heartbeat.BEAT_AND_WATCH], ids=["looks", "watches"]
)
def test_a_beat_in_a_group_of_a_thousand_looks_up_keys_only(database, statement, hosts_tasks):
    """Planned before the group grew, as the plan of a long connection is."""
    with joined_nodes(database, "a", hosts_tasks=hosts_tasks) as (node,):
        node.win()
        view = node.beat().view
        database.query(
            "INSERT INTO health_check (group_id, task_id)"
            " SELECT 'orders', 'node-' || n FROM generate_series(1, 1000) AS n"
        )
        database.query(
            "INSERT INTO token_holder (group_id, task_id, session, term)"
            " SELECT 'orders/task-' || n, 'a', %s, 1 FROM generate_series(1, 1000) AS n",
            node.session,
        )
        explain = b"EXPLAIN (ANALYZE, COSTS off, TIMING off) " + named(statement, database.schema)
        params = node.connection._place.params(
            mine=node.session, wall_ms=wall_ms(), **watched(view)
        )
        plan = [line for (line,) in node.connection._connection.execute(explain, params)]

    executed = [line for line in plan if "never executed" not in line]
    assert not any("Seq Scan" in line for line in executed), "\n".join(plan)
    assert not any("Rows Removed" in line for line in plan), "\n".join(plan)
    assert sum("Index Scan using health_check_pkey" in line for line in executed) == 2


def test_beats_of_many_nodes_never_fail(database):
    """Under SERIALIZABLE the same statement would abort for false conflicts."""
    names = [f"node-{number}" for number in range(8)]
    with joined_nodes(database, *names) as nodes, ThreadPoolExecutor(len(nodes)) as pool:
        nodes[0].win()

        def beat_often(node) -> int:
            return sum(node.ask(Beat(session=node.session)).done for _ in range(100))

        done = sum(pool.map(beat_often, nodes))

    assert done == 800


def _written(database) -> dict[str, tuple[int, int, int]]:
    """Return rows inserted, updated, deleted for each of our tables, as known to the statistics."""
    rows = database.query(
        "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables"
        " WHERE schemaname = %s",
        database.schema,
    )
    return {str(name): (inserted, updated, deleted) for name, inserted, updated, deleted in rows}


def _next_xid(database) -> int:
    """Return how many transactions the server has numbered, without numbering one."""
    return int(database.query("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0])

"""Planned changes carried out by real nodes, asked for by the command line and by SQL alone."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.planned.conftest import Coord
from tests.support.bounds import within
from tests.support.nodes.processes import Bed, bed, eventually
from tests.support.nodes.record import overlaps, terms_rise

pytestmark = pytest.mark.real

WITHIN_S = 20.0


@pytest.fixture
def pair(tmp_path: Path, database: Database) -> Iterator[Bed]:
    """Two nodes of one program, the first of which is active."""
    with bed(tmp_path, database.conninfo, database.schema) as made:
        made.liveness_s, made.heartbeat_s = 9.0, 0.5
        made.start("node-1")
        made.wait_for_run()
        made.start("node-2")
        made.wait_for_standbys(1)
        yield made
        assert overlaps(made.runs()) == []
        assert terms_rise(made.runs())


def test_every_change_of_a_program_s_group_is_carried_out(pair: Bed, coord: Coord, database):
    """A1 to A5, A7, A8: one after the other, and none of them makes two run."""
    to = coord("switchover", "--to", "node-2", "--reason", "kernel", "--yes")
    assert (to.returncode, to.stderr) == (0, "")
    assert to.stdout == "orders: the switchover is done: node-2 has the token, term 2\n"
    assert pair.wait_for_run(1).node == "node-2"
    ((reason,),) = database.query("SELECT reason FROM token_history WHERE term = 2")
    assert "kernel" in reason

    back = coord("resign", "--node", "node-2", "--yes", "-o", "json")
    assert back.returncode == 0, back.stderr
    document = json.loads(back.stdout)
    assert (document["change"], document["state"], document["node"]) == ("resign", "done", "node-2")
    assert pair.wait_for_run(2).node == "node-1"

    held = coord("pause", "orders", "--takeovers", "--for", "30m", "--yes")
    assert (held.returncode, held.stdout) == (0, "orders: takeovers are paused for 30m\n")
    shown = coord("status", "orders")
    assert "takeovers" in shown.stdout
    assert coord("resume", "orders").returncode == 0

    stopped = coord("pause", "orders", "--work", "--reason", "disk", "--yes")
    assert stopped.stdout == "orders: work is paused until `coord resume`\n"
    assert database.query("SELECT count(*) FROM token_holder WHERE session IS NOT NULL") == [(0,)]
    assert "disk" in coord("status").stdout
    resumed = coord("resume", "orders")
    assert resumed.returncode == 0
    holder = pair.wait_for_run(3).node
    other = "node-1" if holder == "node-2" else "node-2"

    drained = coord("drain", holder, "--yes")
    assert drained.stdout == f"orders: {holder} is drained: it holds nothing and takes nothing\n"
    assert pair.wait_for_run(4).node == other
    last = coord("drain", other, "--yes")
    assert last.returncode == 3
    assert "no other live node could do the work" in last.stderr
    assert coord("undrain", holder).stdout == f"orders: {holder} may work again\n"

    assert coord("node", "set", holder, "priority=0").returncode == 0
    never = coord("switchover", "--to", holder, "--yes")
    assert never.returncode == 3
    assert "has priority 0 and never takes the token" in never.stderr


def test_a_switchover_at_a_time_is_not_early_and_one_heartbeat_late_at_most(
    pair: Bed, coord: Coord, database: Database
):
    """A6: by the server's clock; how late it was is judged on a machine that does nothing else."""
    moment = """SELECT to_char(
        clock_timestamp() AT TIME ZONE 'UTC' + interval '3 seconds', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
    )"""
    ((at,),) = database.query(moment)

    done = coord("switchover", "--to", "node-2", "--at", str(at), "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    assert pair.wait_for_run(1).node == "node-2"
    ((due, late_s),) = database.query(
        """
        SELECT to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               date_part('epoch', acquired_at - due_at)
        FROM token_history, planned_change WHERE term = 2
        """
    )
    assert due == at
    assert late_s >= 0
    within(late_s, pair.heartbeat_s, "after its time")


def test_sql_alone_is_enough_and_shows_the_end(pair: Bed, database: Database):
    """A5, A6: at its time, without a command of ours; refused by the holder with the reason."""
    database.query(
        "INSERT INTO planned_change (group_id, kind, node, due_at, reason)"
        " VALUES ('orders', 'switchover', 'node-2', clock_timestamp() + interval '1 second', 'x')"
    )
    assert pair.wait_for_run(1).node == "node-2"
    outcome = "SELECT state, outcome_reason FROM sys_planned_changes WHERE group_id = 'orders'"
    assert database.query(outcome) == [("done", "node-2 has the token, term 2")]
    late = "SELECT acquired_at >= due_at FROM token_history, planned_change WHERE term = 2"
    assert database.query(late) == [(True,)]

    standby = pair.nodes["node-1"]
    standby.send(signal.SIGTERM, "guardian")
    eventually(lambda: standby.process.poll() is not None, WITHIN_S, "node-1 has left")
    database.query("INSERT INTO planned_change (group_id, kind) VALUES ('orders', 'switchover')")

    def refused() -> object:
        return database.query("SELECT outcome_reason FROM planned_change WHERE outcome = 'refused'")

    assert eventually(refused, WITHIN_S, pair.story) == [("no standby is ready",)]
    assert [run.term for run in pair.runs()] == [1, 2]


@pytest.mark.long
def test_thirty_switchovers_in_a_row_overlap_never(pair: Bed, coord: Coord):
    """A5: under a program that works every 5 ms."""
    for number in range(30):
        to = "node-2" if number % 2 == 0 else "node-1"
        done = coord("switchover", "--to", to, "--yes")
        assert done.returncode == 0, done.stderr
        assert pair.wait_for_run(number + 1).node == to

    assert len({run.term for run in pair.runs()}) == 31

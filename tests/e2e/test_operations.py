"""Operations on real nodes: planned, spread, run to their end; killed, and cancelled."""

from __future__ import annotations

import collections
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.app.admin.operations.parse import parse
from coordinator.store.operations.people import Operations
from tests.support.nodes.processes import Bed, bed, eventually
from tests.support.operations.plugged import TABLE, overlapping, plug_in, tally_runs

pytestmark = pytest.mark.real

NODES = ("a", "b", "c")
WAIT_S = 60


@pytest.fixture
def nodes(tmp_path: Path, database) -> Iterator[Bed]:
    """Three nodes of one program, each with the type `tally`."""
    database.query(TABLE)
    env = plug_in(tmp_path)
    with bed(tmp_path, database.conninfo, database.schema) as group:
        group.liveness_s, group.heartbeat_s = 6.0, 1.0
        for name in NODES:
            group.start(name, env=env)
        offered = "SELECT count(*) FROM operation_node WHERE types = '{tally}'"
        eventually(lambda: database.query(offered) == [(3,)], WAIT_S, group.story)
        yield group


@pytest.fixture
def people(database) -> Iterator[Operations]:
    with Operations(database.conninfo, database.schema, "here", 9.0) as store:
        yield store


def run(people: Operations, text: str) -> str:
    return people.run(parse(text).statement)


def until(people: Operations, ref: str, *states: str, within_s: float = WAIT_S) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        row = people.task(ref)
        return row if row["state"] in states else None

    found = eventually(look, within_s, lambda: f"{people.task(ref)}\n{people.subtasks(ref)}")
    assert isinstance(found, dict)
    return found


def test_an_operation_runs_to_its_end_on_all_nodes(nodes: Bed, people: Operations, database):
    """O4, O6: one failure does not keep the rest from its end."""
    ref = run(people, "CREATE TASK count TYPE tally OPTIONS count = 30, fail = ['0007']")

    row = until(people, ref, "COMPLETE", "COMPLETE_WITH_ERRORS", "FAILED")

    assert (row["state"], row["error"]) == (
        "COMPLETE_WITH_ERRORS",
        "0007: ValueError: told to fail",
    )
    assert (row["subtasks"], row["subtasks_completed"], row["subtasks_failed"]) == (30, 30, 1)
    assert (row["bytes_completed"], row["bytes_total"]) == (290, 300)
    planned, *works = people.subtasks(ref)
    assert (planned["kind"], planned["result"]) == ("plan", {"subtasks": 30, "wanted": 30})
    assert collections.Counter(work["state"] for work in works) == {"DONE": 29, "FAILED": 1}
    assert {(work["term"], work["attempt"]) for work in works} == {(1, 1)}
    done = database.query("SELECT entity, count(*) FROM public.tally GROUP BY 1")
    assert sorted(done) == [(f"{n:04}", 1) for n in range(30) if n != 7]
    assert database.query("SELECT plans FROM sys.result_cache") == [
        ({"orders": {"subtasks": 30, "wanted": 30}},)
    ]


def test_a_killed_owner_s_subtasks_are_run_by_others_and_nothing_twice(
    nodes: Bed, people: Operations, database, tmp_path: Path
):
    """O7, Q3: exactly what was left is done, and no two runs of a subtask overlap."""
    gate = tmp_path / "gate"
    ref = run(people, f"CREATE TASK TYPE tally OPTIONS count = 9, gate = '{gate}'")
    busy = eventually(
        lambda: (
            len(running := {run.node: run.entity for run in tally_runs(tmp_path)}) == 3 and running
        ),
        WAIT_S,
        "each node runs one",
    )
    assert isinstance(busy, dict)
    standby = next(name for name in NODES if nodes.nodes[name].stands_by())

    nodes.nodes[standby].send(signal.SIGKILL, "all")
    gate.touch()

    row = until(people, ref, "COMPLETE")
    runs = tally_runs(tmp_path)
    again = [each for each in people.subtasks(ref) if each["attempt"] > 1]
    assert [each["entity"] for each in again] == [busy[standby]]
    assert (again[0]["term"], again[0]["owner"] != standby) == (2, True)
    assert list(overlapping(runs)) == []
    assert sorted(database.query("SELECT entity, count(*) FROM public.tally GROUP BY 1")) == [
        (f"{number:04}", 1) for number in range(9)
    ]
    assert row["subtasks_failed"] == 0


def test_a_cancelled_operation_stops_and_never_goes_on(
    nodes: Bed, people: Operations, database, tmp_path: Path
):
    """O8, Q6"""
    gate = tmp_path / "gate"
    ref = run(people, f"CREATE TASK count TYPE tally OPTIONS count = 9, gate = '{gate}'")
    second = run(people, "CREATE TASK after TYPE tally")
    eventually(lambda: len(tally_runs(tmp_path)) == 3, WAIT_S, "each node runs one")
    assert str(people.task(second)["waits_for"]) == ref

    run(people, "CANCEL TASK 'count'")
    until(people, ref, "CANCELLED")
    gate.touch()
    until(people, second, "COMPLETE")

    states = collections.Counter(each["state"] for each in people.subtasks(ref))
    assert states == {"DONE": 1, "SKIPPED": 9}
    assert {each["reason"] for each in people.subtasks(ref)} == {None, "cancelled"}
    assert database.query("SELECT DISTINCT operation::text FROM public.tally") == [(second,)]
    assert len([each for each in tally_runs(tmp_path) if each.operation == ref]) == 3


@pytest.mark.long
def test_what_kills_its_worker_again_and_again_fails_alone(nodes: Bed, people: Operations):
    """Q7: a subtask that kills its worker ends as FAILED, and the node lives on."""
    ref = run(people, "CREATE TASK TYPE tally OPTIONS count = 2, kill = ['0001']")

    row = until(people, ref, "COMPLETE_WITH_ERRORS", within_s=170)

    assert row["error"] == "0001: its owner was lost 10 times"
    assert all(node.process.poll() is None for node in nodes.nodes.values())

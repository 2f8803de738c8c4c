"""Operations on real nodes: planned, spread, run to their end; killed, and cancelled."""

from __future__ import annotations

import collections
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.app.admin.operations.parse import parse
from coordinator.store.operations.people import Operations
from tests.support.nodes.processes import Bed, bed, descendants, eventually
from tests.support.operations.plugged import TABLE, overlapping, plug_in, tally_runs, variables_of

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
    """One failure does not keep the rest from its end."""
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
    """Q3: exactly what was left is done, and no two runs of a subtask overlap."""
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
    """Q6"""
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
@pytest.mark.timeout(300)
def test_a_stopped_worker_is_replaced_by_its_own_node_where_no_other_is_idle(
    people: Operations, database, tmp_path: Path
):
    """J1, J3: the only node of its group ends its operation, in the session that it had."""
    database.query(TABLE)
    gate = tmp_path / "gate"
    with bed(tmp_path, database.conninfo, database.schema) as group:
        group.liveness_s, group.heartbeat_s = 6.0, 1.0
        alone = group.start("a", env=plug_in(tmp_path))
        offered = "SELECT count(*) FROM operation_node WHERE types = '{tally}'"
        eventually(lambda: database.query(offered) == [(1,)], WAIT_S, group.story)
        ref = run(people, f"CREATE TASK TYPE tally OPTIONS count = 1, gate = '{gate}'")
        eventually(lambda: tally_runs(tmp_path), WAIT_S, group.story)
        session = "SELECT session FROM health_check"
        before = database.query(session)

        stopped = worker_of(alone.process.pid)
        os.kill(stopped, signal.SIGSTOP)
        gate.touch()

        until(people, ref, "COMPLETE", within_s=200)
        assert not Path(f"/proc/{stopped}").exists()
        assert database.query(session) == before
        (_, work) = people.subtasks(ref)
        assert (work["owner"], work["term"], work["attempt"]) == ("a", 2, 2)
        assert list(overlapping(tally_runs(tmp_path))) == []


def worker_of(node: int) -> int:
    """Return the process id of the worker below a node's first process."""
    (worker,) = (
        pid
        for pid in descendants(node)
        if b"worker.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    return worker


@pytest.mark.long
def test_what_kills_its_worker_again_and_again_fails_alone(nodes: Bed, people: Operations):
    """Q7: a subtask that kills its worker ends as FAILED, and the node lives on."""
    ref = run(people, "CREATE TASK TYPE tally OPTIONS count = 2, kill = ['0001']")

    row = until(people, ref, "COMPLETE_WITH_ERRORS", within_s=170)

    assert row["error"] == "0001: its owner was lost 10 times"
    assert all(node.process.poll() is None for node in nodes.nodes.values())


def test_a_group_that_spreads_tasks_works_too_and_who_leaves_gives_back(
    people: Operations, database, tmp_path: Path
):
    """Q2, Q3: by a Member; a node that is told to leave stops its subtask, and another runs it."""
    database.query(TABLE)
    env, gate = plug_in(tmp_path), tmp_path / "gate"
    with bed(tmp_path, database.conninfo, database.schema) as group:
        group.liveness_s, group.heartbeat_s = 6.0, 1.0
        config = '[tasksPolicy]\ntoMember = "0s"\nobserverGrace = "0s"\n'
        for name in NODES[:2]:
            group.start(name, "--tasks", env=env, config=config)
        members = (
            "SELECT count(*) FROM operation_node AS offered JOIN health_check AS node"
            " ON node.task_id = offered.node AND standing = 'member'"
        )
        eventually(lambda: database.query(members) == [(2,)], WAIT_S, group.story)
        ref = run(people, f"CREATE TASK TYPE tally OPTIONS count = 2, gate = '{gate}'")
        eventually(lambda: len(tally_runs(tmp_path)) == 2, WAIT_S, group.story)
        leaver = tally_runs(tmp_path)[0]

        group.nodes[leaver.node].process.terminate()
        assert group.nodes[leaver.node].process.wait(30) == 0
        gate.touch()
        until(people, ref, "COMPLETE")

    works = {each["entity"]: each for each in people.subtasks(ref)}
    assert (works[leaver.entity]["attempt"], works[leaver.entity]["owner"]) == (
        2,
        next(name for name in NODES[:2] if name != leaver.node),
    )
    assert list(overlapping(tally_runs(tmp_path))) == []


@pytest.mark.long
def test_owners_killed_and_frozen_at_random_leave_each_subtask_done_once(
    nodes: Bed, people: Operations, database, tmp_path: Path
):
    """Q1 to Q5: no two runs of a subtask at a time, and each effect once."""
    chance = random.Random(7)
    env = variables_of(tmp_path)
    ref = run(people, "CREATE TASK TYPE tally OPTIONS count = 120, slow = 0.4")
    for _ in range(8):
        name = chance.choice(NODES)
        node = nodes.nodes[name]
        if chance.random() < 0.5:
            node.send(signal.SIGKILL, "all")
        else:
            node.send(signal.SIGSTOP, "all")
            more_runs(people, nodes, ref, 12)
            node.send(signal.SIGCONT, "all")
        node.end()
        nodes.start(name, env=env)
        more_runs(people, nodes, ref, 3)

    until(people, ref, "COMPLETE", within_s=150)

    assert list(overlapping(tally_runs(tmp_path))) == []
    done = database.query("SELECT entity, count(*) FROM public.tally GROUP BY 1 ORDER BY 1")
    assert done == [(f"{number:04}", 1) for number in range(120)]
    assert any(run.term > 1 for run in tally_runs(tmp_path))


def more_runs(people: Operations, nodes: Bed, ref: str, count: int) -> None:
    """Wait until so many more runs have begun, or the operation is finished."""
    before = len(tally_runs(nodes.path))
    eventually(
        lambda: len(tally_runs(nodes.path)) > before + count or people.task(ref)["finished_at"],
        WAIT_S,
        nodes.story,
    )

"""A thousand tasks on twenty nodes: spread, one node's death, and its return."""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest

from coordinator.protocol.group import TaskDef
from tests.support.nodes import eventually
from tests.support.task_nodes import TaskBed, overlapping, task_bed

NODES, TASKS = 20, 1000
#: A look at a thousand tokens takes the machine from the nodes that share it.
LOOK_EVERY_S = 2.0
#: A beacon's step: a thousand of them must leave the machine room for the nodes.
STEP_MS = 1000
#: What sixty processes of ours on two shared cores may add to the bound of 1 s.
MACHINE_S = 2.0


@pytest.fixture
def tasks(tmp_path, database):
    with task_bed(tmp_path, database.conninfo, database.schema) as made:
        made.liveness_s, made.heartbeat_s = 6.0, 1.0
        made.to_member_s = 3.0
        yield made


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def to_boottime(moment: float) -> float:
    """Return a moment of the wall clock as seconds of CLOCK_BOOTTIME."""
    return moment - (time.time() - boottime())


def wait_until_held(tasks: TaskBed, count: int, *, not_by: str = "", within_s: float = 60) -> None:
    def held() -> bool:
        where = tasks.where()
        return len(where) == count and not_by not in where.values()

    what = f"{count} tasks are held, none by {not_by!r}"
    eventually(held, within_s, what, every_s=LOOK_EVERY_S)


def test_a_thousand_tasks_on_twenty_nodes(tasks, capsys):
    nodes = [f"n{number:02}" for number in range(NODES)]
    for node in nodes:
        tasks.member(node)
    tasks.wait_for_members(*nodes, within_s=120)
    with tasks.desk() as desk:
        for number in range(TASKS):
            name = f"t{number:04}"
            desk.add(tasks.group, TaskDef(name=name, spec=tasks.spec(STEP_MS)), who="test")
    wait_until_held(tasks, TASKS, within_s=120)
    eventually(lambda: len({r.task for r in tasks.task_runs()}) == TASKS, 60, "all have started")
    before = tasks.where()
    counts = Counter(before.values())

    victim = "n07"
    own = {task for task, node in before.items() if node == victim}
    tasks.nodes[victim].send(signal.SIGKILL, "all")
    killed_at = boottime()
    wait_until_held(tasks, TASKS, not_by=victim)
    eventually(
        lambda: {r.task for r in tasks.task_runs() if r.first > killed_at} >= own,
        30,
        "all moved",
        every_s=LOOK_EVERY_S,
    )
    moved = [run for run in tasks.task_runs() if run.first > killed_at]
    ended = tasks.ask(
        "SELECT extract(epoch FROM ended_at)::float8 AS at FROM {schema}.health_check"
        " WHERE group_id = %(group)s AND task_id = %(node)s",
        group=tasks.group,
        node=victim,
    )[0]["at"]
    taken_s = max(run.first for run in moved) - to_boottime(ended)

    tasks.nodes[victim].process.wait(5)
    tasks.member(victim)
    tasks.wait_for_members(victim, within_s=60)
    eventually(lambda: tasks.where() == before, 60, "everything is as it was")
    back_at = boottime()
    eventually(
        lambda: {r.task for r in tasks.task_runs() if r.node == victim and r.last > back_at} >= own,
        30,
        "the tasks that came back run",
    )

    overlaps = overlapping(tasks.task_runs())
    with capsys.disabled():
        print(
            f"\n{TASKS} tasks on {NODES} nodes: max/mean {max(counts.values()) / 50:.2f};"
            f" {len(own)} moved {taken_s:.2f} s after the session ended;"
            f" {len(overlaps)} overlaps"
        )
    assert max(counts.values()) / (TASKS / NODES) <= 1.25
    assert {run.task for run in moved} == own, "no other task moved"
    assert overlaps == []
    assert taken_s <= 1.0 + MACHINE_S


@pytest.mark.parametrize("shape", [(1, 100), (20, 1)], ids=["1x100", "20x1"])
def test_any_numbers_of_nodes_and_tasks(tasks, shape):
    """S1: a hundred tasks on one node, one task on twenty; each is started once."""
    node_count, task_count = shape
    nodes = [f"n{number:02}" for number in range(node_count)]
    for node in nodes:
        tasks.member(node)
    tasks.wait_for_members(*nodes, within_s=120)

    tasks.add(*(TaskDef(name=f"t{n}", spec=tasks.spec(STEP_MS)) for n in range(task_count)))

    eventually(lambda: len({r.task for r in tasks.task_runs()}) == task_count, 60, "all run")
    runs = tasks.task_runs()
    assert len(runs) == task_count
    assert len(tasks.where()) == task_count

"""A thousand tasks on twenty nodes: spread, one node's death, and its return."""

from __future__ import annotations

import pytest

from coordinator.protocol.messages.group_record import TaskDef
from tests.support.bounds import within
from tests.support.nodes.processes import eventually
from tests.support.nodes.task_scale import (
    NODES,
    STEP_MS,
    TASKS,
    one_node_dies_and_returns,
    scale_bed,
    start_all,
)

#: Time that sixty processes on two shared cores may add to the bound of 1 s.
MACHINE_S = 2.0


@pytest.fixture
def tasks(tmp_path, database):
    with scale_bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def test_a_thousand_tasks_on_twenty_nodes(tasks, capsys):
    start_all(tasks, NODES, TASKS)

    outcome = one_node_dies_and_returns(tasks)

    with capsys.disabled():
        print(
            f"\n{TASKS} tasks on {NODES} nodes: max/mean {outcome.fullest:.2f};"
            f" {len(outcome.own)} moved {outcome.taken_s:.2f} s after the session ended;"
            f" {outcome.overlaps} overlaps"
        )
    assert outcome.fullest <= 1.01
    assert outcome.moved == outcome.own, "no other task moved"
    assert len(outcome.returned) <= len(outcome.own), "its share came back"
    assert outcome.displaced == frozenset(), "nothing else moved"
    assert outcome.overlaps == 0
    within(outcome.taken_s, 1.0 + MACHINE_S)


@pytest.mark.parametrize("shape", [(1, 100), (20, 1)], ids=["1x100", "20x1"])
def test_any_numbers_of_nodes_and_tasks(tasks, shape):
    """K1: a hundred tasks on one node, one task on twenty; each is started once."""
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

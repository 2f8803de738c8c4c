"""The example of five nodes, literally, on machines of a real network (H4, H5, H9)."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest

from coordinator.protocol.group.placement import responsible
from coordinator.protocol.messages.group_record import OnPartition, TaskDef
from tests.support.bounds import within
from tests.support.networks import machines as networks
from tests.support.nodes.processes import eventually
from tests.support.nodes.task_nodes import TaskBed, overlapping, task_bed

NODES = ("A", "B", "C", "D", "E")
ALLOWED = ("A", "B", "E")
#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.5


@pytest.fixture
def net():
    with networks.network() as made:
        yield made


@pytest.fixture
def machines(net, tmp_path):
    """Five machines and a database; every node is a Member."""
    with networks.database_machine(net) as server:
        networks.new_database(server, "tasks", "guest", "secret")
        inside = networks.conninfo(net, "tasks", "guest", "secret")
        outside = server.conninfo("tasks")
        with task_bed(tmp_path, outside, "public") as made:
            made.liveness_s, made.heartbeat_s = 3.0, 0.5
            for node in NODES:
                net.add(node)
                with net.inside(node):
                    made.conninfo = inside
                    made.member(node)
            made.conninfo = outside
            for node in made.nodes.values():
                # The first one makes the tables.
                eventually(lambda node=node: "Promotable" in node.said(), 30, made.story())
            made.wait_for_members(*NODES, within_s=40)
            yield made


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def name_for(node: str) -> str:
    """Return the name of a task that the function gives to `node` among the allowed ones."""
    from coordinator.protocol.messages.group_record import GroupRecord, NodeRecord, Standing

    nodes = {
        name: NodeRecord(node=name, standing=Standing.MEMBER, live=True, session=name)
        for name in NODES
    }
    for number in range(1000):
        task = TaskDef(name=f"task-{number}", nodes=ALLOWED)
        record = GroupRecord(version=1, tasks={task.name: task}, nodes=nodes)
        if responsible("G", task, record).node == node:
            return task.name
    raise AssertionError(f"no task for {node}")


def running(made: TaskBed, task: str) -> str | None:
    fresh = [r for r in made.task_runs() if r.task == task and boottime() - r.last < 0.4]
    return fresh[-1].node if fresh else None


def said_at(made: TaskBed, node: str, words: str) -> float | None:
    """Return when a node's log said something, as seconds of CLOCK_BOOTTIME; None: never."""
    for line in made.nodes[node].said().splitlines():
        stamp = re.match(r"\S+", line)
        if words in line and stamp is not None:
            moment = datetime.fromisoformat(stamp.group().replace("Z", "+00:00"))
            return moment.timestamp() - (time.time() - boottime())
    return None


def test_the_example_of_five_nodes(net, machines):
    """H4: B is cut off. The others see it go to Rehab, the task goes to A or E, never C or D.

    B calls itself Candidate and has removed all its tasks before A or E starts the task. Then B
    returns by Rehab, and gets the task back that prefers it (H5, P5).
    """
    task = name_for("B")
    machines.add(TaskDef(name=task, nodes=ALLOWED, preferred="B", spec=machines.spec()))
    eventually(lambda: running(machines, task) == "B", 15, lambda: f"B runs it{machines.story()}")

    net.cut("B")
    cut_at = boottime()

    eventually(
        lambda: running(machines, task) in ("A", "E"),
        15,
        lambda: f"A or E runs it{machines.story()}",
    )
    runs = machines.task_runs()
    old, new = runs[0], runs[1]
    assert (old.node, new.node in ("A", "E")) == ("B", True)
    assert old.last < new.first
    within(new.first - cut_at, 3.0 + 2 * 0.5 + MACHINE_S)
    assert machines.standings()["B"] == "rehab"
    decided = machines.ask(
        "SELECT * FROM {schema}.sys_observer_decisions WHERE node = 'B' ORDER BY at DESC LIMIT 1"
    )[0]
    assert "no heartbeat of B" in decided["reason"]
    # B may have observed the group before, and decided about itself then.
    observers = {node for node in NODES if "(no heartbeat of B" in machines.nodes[node].said()}
    assert observers
    assert "B" not in observers
    b_said = machines.nodes["B"].said()
    assert "candidate" in b_said
    assert "all tasks of this node have ended" in b_said
    assert "task-lost" not in b_said

    net.heal("B")

    eventually(
        lambda: machines.standings()["B"] == "member", 30, lambda: f"B is back{machines.story()}"
    )
    eventually(
        lambda: running(machines, task) == "B", 15, lambda: f"B runs it again{machines.story()}"
    )
    back = machines.nodes["B"].said()
    assert back.index("candidate") < back.rindex("Rehab") < back.rindex("Member")
    assert overlapping(machines.task_runs()) == []
    assert {run.node for run in machines.task_runs()} <= set(ALLOWED)
    terms = [run.term for run in machines.task_runs()]
    assert terms == sorted(set(terms))


def test_a_backup_goes_on_without_the_database_and_says_so_later(net, machines):
    """H9: cut off, it runs on; healed, it is reported as one that may have run twice."""
    task = name_for("B")
    definition = TaskDef(
        name=task, nodes=ALLOWED, on_partition=OnPartition.CONTINUE, spec=machines.spec()
    )
    machines.add(definition)
    eventually(lambda: running(machines, task) == "B", 15, lambda: f"B runs it{machines.story()}")

    net.cut("B")

    eventually(
        lambda: [r for r in machines.task_runs() if r.node in ("A", "E")],
        20,
        lambda: f"another runs it, too{machines.story()}",
    )
    began_at = next(run.first for run in machines.task_runs() if run.node != "B")
    eventually(
        lambda: machines.task_runs()[0].last > began_at,
        15,
        lambda: f"B's program goes on beside it{machines.story()}",
    )
    net.heal("B")

    eventually(
        lambda: machines.ask("SELECT 1 AS found FROM event WHERE kind = 'ran-apart'"),
        20,
        lambda: f"it is reported{machines.story()}",
    )
    eventually(
        lambda: len({r.node for r in machines.task_runs() if boottime() - r.last < 0.3}) == 1,
        15,
        lambda: f"one of them is left{machines.story()}",
    )

"""A thousand tasks on twenty real nodes; one node dies and comes back. For a test and for bench."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coordinator.protocol.messages.group_record import TaskDef
from tests.support.nodes.processes import eventually
from tests.support.nodes.task_nodes import TaskBed, overlapping, task_bed

NODES, TASKS = 20, 1000
#: A look at a thousand tokens takes the machine from the nodes that share it.
LOOK_EVERY_S = 2.0
#: A beacon's step: a thousand of them must leave the machine room for the nodes.
STEP_MS = 1000
VICTIM = "n07"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Effect of a death and a return on the tasks."""

    fullest: float  #: tasks of the fullest node, as a ratio to the mean
    own: frozenset[str]  #: tasks that the dead node held
    moved: frozenset[str]  #: tasks that began anew after its death, before its return
    taken_s: float  #: from the end of its session to the first line of the last task that moved
    returned: frozenset[str]  #: tasks that were elsewhere, and are at the returned node
    displaced: frozenset[str]  #: tasks that are elsewhere than before it all
    overlaps: int


@contextmanager
def scale_bed(tmp_path: Path, conninfo: str, schema: str) -> Iterator[TaskBed]:
    """Give a bed whose nodes are patient enough for so many of them on one machine."""
    with task_bed(tmp_path, conninfo, schema) as made:
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


def start_all(tasks: TaskBed, node_count: int, task_count: int) -> None:
    """Start nodes and tasks, and wait until every task runs."""
    nodes = [f"n{number:02}" for number in range(node_count)]
    for node in nodes:
        tasks.member(node)
    tasks.wait_for_members(*nodes, within_s=120)
    with tasks.operator() as operator:
        for number in range(task_count):
            name = f"t{number:04}"
            operator.add(tasks.group, TaskDef(name=name, spec=tasks.spec(STEP_MS)), who="test")
    wait_until_held(tasks, task_count, within_s=120)
    eventually(
        lambda: len({r.task for r in tasks.task_runs()}) == task_count,
        60,
        "all have started",
        every_s=LOOK_EVERY_S,
    )
    # A node that was taken for dead on a loaded machine gets its share again.
    eventually(lambda: even(tasks.where(), task_count), 60, "even", every_s=LOOK_EVERY_S)


def one_node_dies_and_returns(tasks: TaskBed) -> Outcome:
    """Kill one node of those that run, as a power failure would, and start it again."""
    before = tasks.where()
    counts = Counter(before.values())
    own = frozenset(task for task, node in before.items() if node == VICTIM)
    tasks.nodes[VICTIM].send(signal.SIGKILL, "all")
    killed_at = boottime()
    wait_until_held(tasks, len(before), not_by=VICTIM)
    eventually(
        lambda: {r.task for r in tasks.task_runs() if r.first > killed_at} >= own,
        30,
        "all moved",
        every_s=LOOK_EVERY_S,
    )
    moved = [run for run in tasks.task_runs() if run.first > killed_at]
    last = max(run.first for run in moved if run.task in own)
    taken_s = last - to_boottime(session_ended_at(tasks, VICTIM))
    between = tasks.where()

    tasks.nodes[VICTIM].process.wait(5)
    tasks.member(VICTIM)
    tasks.wait_for_members(VICTIM, within_s=60)
    eventually(lambda: even(tasks.where(), len(before)), 60, "even", every_s=LOOK_EVERY_S)
    back_at, share = boottime(), {t for t, node in tasks.where().items() if node == VICTIM}
    eventually(
        lambda: (
            {r.task for r in tasks.task_runs() if r.node == VICTIM and r.last > back_at} >= share
        ),
        30,
        "the tasks that came back run",
        every_s=LOOK_EVERY_S,
    )
    after = tasks.where()
    return Outcome(
        fullest=max(counts.values()) * len(counts) / len(before),
        own=own,
        moved=frozenset(run.task for run in moved),
        taken_s=taken_s,
        returned=frozenset(
            task for task, node in after.items() if node == VICTIM and between[task] != VICTIM
        ),
        displaced=frozenset(
            task for task in before if after.get(task) not in (between[task], VICTIM)
        ),
        overlaps=len(overlapping(tasks.task_runs())),
    )


def even(where: dict[str, str], count: int) -> bool:
    """Say whether so many tasks are held, and each node holds floor to ceil of the mean."""
    loads = Counter(where.values())
    return len(where) == count and VICTIM in loads and max(loads.values()) - min(loads.values()) < 2


def session_ended_at(tasks: TaskBed, node: str) -> float:
    """Return when the node's last session was ended, in seconds of the wall clock."""
    rows = tasks.ask(
        "SELECT extract(epoch FROM ended_at)::float8 AS at FROM {schema}.health_check"
        " WHERE group_id = %(group)s AND task_id = %(node)s",
        group=tasks.group,
        node=node,
    )
    return float(rows[0]["at"])

"""Measure the rule for spreading tasks: the fullest node, what moves, and what it costs.

    python -m bench.parts.placement [--sets 100] [--tasks 1000] [--nodes 20]

Each set has its own names. The fullest node is a ratio to the mean. Moves are counted among the
*other* tasks: those that neither leave a node that went nor go to one that came.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from coordinator.protocol.group import placement
from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    Standing,
    TaskDef,
    TaskToken,
)
from coordinator.protocol.rules.ranking import weight

GROUP = "bench"
#: The version of the first record; holdings of it are older than what comes later.
FIRST = 1

Placed = dict[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The figures, one of each kind per set."""

    full: list[float] = field(default_factory=list)
    one_dead: list[float] = field(default_factory=list)
    moved_by_death: list[int] = field(default_factory=list)
    moved_by_task: list[int] = field(default_factory=list)
    moved_by_row: list[int] = field(default_factory=list)
    moved_by_eviction: list[int] = field(default_factory=list)
    came: list[int] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)


def names(number: int, count: int) -> list[str]:
    """Node names as people and machines give them, in three styles."""
    styles = (
        [f"node-{index}" for index in range(count)],
        [f"db{index:02d}.site{number}.example" for index in range(count)],
        [f"{weight(str(number), str(index)):016x}" for index in range(count)],
    )
    return styles[number % len(styles)]


def record_of(
    tasks: Sequence[str], nodes: Sequence[str], held: Placed, spread_version: int = 0
) -> GroupRecord:
    """Return the record of a group in which these nodes live and hold these tasks."""
    tokens = {
        task: TaskToken(term=1, node=at, free=False, base_node=at, base_taken=FIRST)
        for task, at in held.items()
    }
    return GroupRecord(
        version=FIRST + 1,
        tasks={task: TaskDef(name=task) for task in tasks},
        nodes={node: NodeRecord(node=node, standing=Standing.MEMBER, live=True) for node in nodes},
        tokens=tokens,
        spread_version=spread_version,
    )


def placed(record: GroupRecord, took_s: list[float] | None = None) -> Placed:
    """Return the node of each task, by the function that every node computes."""
    began = time.perf_counter()
    verdicts = placement.assignment(GROUP, record)
    if took_s is not None:
        took_s.append(time.perf_counter() - began)
    return {task: verdict.node for task, verdict in verdicts.items() if verdict.node is not None}


def ratio(found: Placed, nodes: Sequence[str]) -> float:
    return max(Counter(found.values()).values()) * len(nodes) / len(found)


def others(before: Placed, after: Placed, node: str) -> int:
    """Count the tasks that moved, but neither from `node` nor to it."""
    return sum(after[task] != at and node not in (at, after[task]) for task, at in before.items())


def measure(found: Found, tasks: Sequence[str], nodes: Sequence[str]) -> None:
    """Note one set's figures: the last task is added, and the last node comes."""
    rows, dead, fresh = nodes[:-1], nodes[-2], nodes[-1]
    full = placed(record_of(tasks[:-1], rows, {}), found.took_s)
    found.full.append(ratio(full, rows))

    record = record_of(tasks[:-1], rows, full)
    gone = replace(record.nodes[dead], live=False, standing=Standing.REHAB)
    left = {task: token for task, token in record.tokens.items() if token.node != dead}
    after = placed(replace(record, nodes={**record.nodes, dead: gone}, tokens=left), found.took_s)
    found.one_dead.append(ratio(after, rows[:-1]))
    found.moved_by_death.append(others(full, after, dead))
    without = {name: row for name, row in record.nodes.items() if name != dead}
    evicted = placed(replace(record, nodes=without, tokens=left))
    found.moved_by_eviction.append(others(full, evicted, dead))

    more = placed(record_of(tasks, rows, full))
    found.moved_by_task.append(others(full, more, ""))
    grown = placed(record_of(tasks[:-1], nodes, full, FIRST + 1), found.took_s)
    found.moved_by_row.append(others(full, grown, fresh))
    found.came.append(sum(at == fresh for at in grown.values()))


def percentile(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


def figures(sets: int, task_count: int, node_count: int) -> Mapping[str, float]:
    """Return what the rule gives over so many sets, and what a node's own call costs."""
    found = Found()
    for number in range(sets):
        tasks = [f"task-{number}-{index}" for index in range(task_count + 1)]
        measure(found, tasks, names(number, node_count + 1))
    return {
        "sets": sets,
        "fullest_p50": statistics.median(found.full),
        "fullest_p99": percentile(found.full),
        "fullest_max": max(found.full),
        "dead_fullest_max": max(found.one_dead),
        "others_by_death_max": max(found.moved_by_death),
        "others_by_task_mean": statistics.mean(found.moved_by_task),
        "others_by_row_mean": statistics.mean(found.moved_by_row),
        "others_by_eviction_mean": statistics.mean(found.moved_by_eviction),
        "came_max": max(found.came),
        "compute_s_p50": statistics.median(found.took_s),
        "compute_s_max": max(found.took_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=20)
    arguments = parser.parse_args()
    found = figures(arguments.sets, arguments.tasks, arguments.nodes)
    print(f"{arguments.sets} sets of {arguments.tasks} tasks on {arguments.nodes} nodes\n")
    print("| figure | |\n|---|--:|")
    for name, value in found.items():
        print(f"| {name} | {value:.4g} |")


if __name__ == "__main__":
    main()

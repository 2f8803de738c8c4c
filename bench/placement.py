"""What a rule for spreading tasks gives and costs: the fullest node, and what moves needlessly.

    python -m bench.placement [--sets 1000] [--tasks 1000] [--nodes 20]

Each set has its own names. The fullest node is a ratio to the mean; `within 1.25` is the share of
the sets in which it is not above that. Moves are counted among the *other* tasks: those that
neither leave a node that went nor go to one that came.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.protocol import placement
from coordinator.protocol.group import GroupRecord, NodeRecord, Standing, TaskDef, token_name
from coordinator.protocol.ranking import weight

GROUP = "bench"
EVEN_MAX = 1.25
#: A bound rises by one every so many tasks, and then more move than otherwise: which task is added
#: differs from set to set, so that each rule meets its own steps as often as they come.
SPAN_TASKS = 40

#: By task, by node.
Weights = Mapping[str, Mapping[str, int]]
Placed = dict[str, str]
#: (weights, tasks, rows, living) to the node of each task.
Rule = Callable[[Weights, Sequence[str], Sequence[str], Sequence[str]], Placed]


def by_hash(
    weights: Weights,
    tasks: Sequence[str],
    rows: Sequence[str],  # noqa: ARG001
    living: Sequence[str],
) -> Placed:
    return {task: max(living, key=weights[task].__getitem__) for task in tasks}


def bounded(
    weights: Weights, tasks: Sequence[str], nodes: Sequence[str], percent: int, spare: int
) -> Placed:
    """The strongest claim first; each goes to its best node that has room."""
    bound = -(-percent * len(tasks) // (100 * len(nodes))) + spare
    counts: Counter[str] = Counter()
    placed: Placed = {}
    firsts = by_hash(weights, tasks, nodes, nodes)
    for task in sorted(tasks, key=lambda one: (-weights[one][firsts[one]], one)):
        room = [node for node in nodes if counts[node] < bound]
        node = firsts[task] if counts[firsts[task]] < bound else ""
        node = node or max(room or nodes, key=weights[task].__getitem__)
        counts[node] += 1
        placed[task] = node
    return placed


def bounded_living(percent: int, spare: int) -> Rule:
    """The bound is kept among the living: whoever dies changes it for all."""
    return lambda weights, tasks, _, living: bounded(weights, tasks, living, percent, spare)


def homes(percent: int, spare: int) -> Rule:
    """The bound is kept among all rows; the tasks of the dead go by hash alone."""

    def rule(
        weights: Weights, tasks: Sequence[str], rows: Sequence[str], living: Sequence[str]
    ) -> Placed:
        home = bounded(weights, tasks, rows, percent, spare)
        away = by_hash(weights, tasks, rows, living)
        return {task: home[task] if home[task] in living else away[task] for task in tasks}

    return rule


RULES: dict[str, Rule] = {
    "hash alone": by_hash,
    "living, 115 % + 1": bounded_living(115, 1),
    "homes, 100 % + 0": homes(100, 0),
    "homes, 110 % + 0": homes(110, 0),
    "homes, 115 % + 0": homes(115, 0),
    "homes, 115 % + 1": homes(placement.SHARE_MAX_PERCENT, placement.SPARE_TASKS),
    "homes, 120 % + 1": homes(120, 1),
}
CHOSEN = "homes, 115 % + 1"


@dataclass(frozen=True, slots=True)
class Found:
    """One rule's figures, one of each kind per set."""

    full: list[float] = field(default_factory=list)
    one_dead: list[float] = field(default_factory=list)
    moved_by_death: list[int] = field(default_factory=list)
    moved_by_task: list[int] = field(default_factory=list)
    moved_by_row: list[int] = field(default_factory=list)
    moved_by_eviction: list[int] = field(default_factory=list)


def names(number: int, count: int) -> list[str]:
    """Node names as people and machines give them, in three styles."""
    styles = (
        [f"node-{index}" for index in range(count)],
        [f"db{index:02d}.site{number}.example" for index in range(count)],
        [f"{weight(str(number), str(index)):016x}" for index in range(count)],
    )
    return styles[number % len(styles)]


def ratio(placed: Placed, nodes: Sequence[str]) -> float:
    return max(Counter(placed.values()).values()) * len(nodes) / len(placed)


def others(before: Placed, after: Placed, node: str) -> int:
    """Count the tasks that moved, but neither from `node` nor to it."""
    return sum(after[task] != at and node not in (at, after[task]) for task, at in before.items())


def measure(
    found: Found, rule: Rule, weights: Weights, tasks: list[str], nodes: list[str], count: int
) -> None:
    """Note one set's figures; the task that is added is number `count`."""
    rows, fewer = nodes[:-1], nodes[:-2]
    dead, fresh = nodes[-2], nodes[-1]
    full = rule(weights, tasks[:-1], rows, rows)
    after = rule(weights, tasks[:-1], rows, fewer)
    found.full.append(ratio(full, rows))
    found.one_dead.append(ratio(after, fewer))
    found.moved_by_death.append(others(full, after, dead))
    fewer_tasks = rule(weights, tasks[:count], rows, rows)
    more_tasks = rule(weights, tasks[: count + 1], rows, rows)
    found.moved_by_task.append(others(fewer_tasks, more_tasks, ""))
    found.moved_by_row.append(others(full, rule(weights, tasks[:-1], nodes, nodes), fresh))
    found.moved_by_eviction.append(others(full, rule(weights, tasks[:-1], fewer, fewer), dead))


def check(weights: Weights, tasks: list[str], rows: list[str], dead: str) -> float:
    """Compare the chosen rule to what nodes really compute; return the seconds of one call."""
    nodes = {row: NodeRecord(node=row, standing=Standing.MEMBER, live=row != dead) for row in rows}
    record = GroupRecord(version=1, tasks={t: TaskDef(name=t) for t in tasks}, nodes=nodes)
    began = time.perf_counter()
    verdicts = placement.assignment(GROUP, record)
    took_s = time.perf_counter() - began
    living = [row for row in rows if row != dead]
    expected = RULES[CHOSEN](weights, tasks, rows, living)
    assert {task: verdict.node for task, verdict in verdicts.items()} == expected
    return took_s


def lines(results: Mapping[str, Found]) -> Iterator[str]:
    yield "| rule | fullest, median | 99 % | max | within 1.25 | one dead: 99 % | within 1.25 |"
    yield "|---|---|---|---|---|---|---|"
    for name, found in results.items():
        median, most = statistics.median(found.full), max(found.full)
        even, dead_even = share_even(found.full), share_even(found.one_dead)
        high, dead_high = percentile(found.full), percentile(found.one_dead)
        yield (
            f"| {name} | {median:.2f} | {high:.2f} | {most:.2f} | {even:.1%}"
            f" | {dead_high:.2f} | {dead_even:.1%} |"
        )
    yield ""
    yield (
        "| rule: other tasks that move, mean (max), when | a node dies | a task is added"
        " | a node comes for the first time | a node is evicted |"
    )
    yield "|---|---|---|---|---|"
    for name, found in results.items():
        moves = (
            found.moved_by_death,
            found.moved_by_task,
            found.moved_by_row,
            found.moved_by_eviction,
        )
        cells = " | ".join(f"{statistics.mean(one):.2f} ({max(one)})" for one in moves)
        yield f"| {name} | {cells} |"


def percentile(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


def share_even(values: list[float]) -> float:
    return sum(value <= EVEN_MAX for value in values) / len(values)


def figures(sets: int, task_count: int, node_count: int) -> dict[str, float]:
    """Return what the chosen rule gives over so many sets, and what a node's own call costs."""
    results, took = measured(sets, task_count, node_count, {CHOSEN: RULES[CHOSEN]})
    found = results[CHOSEN]
    return {
        "sets": sets,
        "fullest_p50": statistics.median(found.full),
        "fullest_p99": percentile(found.full),
        "fullest_max": max(found.full),
        "others_by_death_max": max(found.moved_by_death),
        "others_by_task_mean": statistics.mean(found.moved_by_task),
        "others_by_row_mean": statistics.mean(found.moved_by_row),
        "others_by_eviction_mean": statistics.mean(found.moved_by_eviction),
        "compute_s_p50": statistics.median(took),
        "compute_s_max": max(took),
    }


def measured(
    sets: int, task_count: int, node_count: int, rules: Mapping[str, Rule]
) -> tuple[dict[str, Found], list[float]]:
    """Try these rules on sets of names; return their figures, and the seconds of each real call."""
    results = {name: Found() for name in rules}
    took: list[float] = []
    for number in range(sets):
        tasks = [f"task-{number}-{index}" for index in range(task_count + 1)]
        nodes = names(number, node_count + 1)
        weights = {t: {n: weight(token_name(GROUP, t), n) for n in nodes} for t in tasks}
        count = task_count - number % min(SPAN_TASKS, task_count // 2)
        for name, rule in rules.items():
            measure(results[name], rule, weights, tasks, nodes, count)
        took.append(check(weights, tasks[:-1], nodes[:-1], nodes[-2]))
    return results, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=20)
    arguments = parser.parse_args()
    results, took = measured(arguments.sets, arguments.tasks, arguments.nodes, RULES)
    print(f"{arguments.sets} sets of {arguments.tasks} tasks on {arguments.nodes} nodes\n")
    print("\n".join(lines(results)))
    print(f"\nassignment of one record: median {statistics.median(took) * 1000:.0f} ms")


if __name__ == "__main__":
    main()

"""Spreading tasks evenly over nodes: the arithmetic behind placement.py (rule P3 and P4).

Two steps. First, free tasks fill the nodes to one level, the strongest claim first. Then, while the
loads differ by two or more, chains of moves even them out. Each chain takes one task from a fuller
node and gives one to an emptier node, with as few moves as possible.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from coordinator.protocol.rules.ranking import weight

#: Cached node orders, one per task: 0.4 MB for a thousand tasks on twenty nodes.
ORDERS_KEPT = 4096
UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A task that several nodes could run.

    key:  its rendezvous key.
    rows: all nodes that its definition allows, sorted; its order of nodes is taken over them.
    best: the nodes that may run it now and on which it failed least often.
    last: the node that held it last.
    """

    name: str
    key: str
    rows: tuple[str, ...]
    best: frozenset[str]
    last: str | None = None


@lru_cache(maxsize=ORDERS_KEPT)
def order(key: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the nodes, the highest weight first; equal weights are ordered by name.

    The order does not depend on which nodes are alive: a death causes no new hashing.
    """
    return tuple(sorted(nodes, key=lambda node: (-weight(key, node), node)))


@lru_cache(maxsize=ORDERS_KEPT)
def _strength(key: str, node: str) -> int:
    return weight(key, node)


@dataclass(slots=True)
class Loads:
    """Number of tasks that each node runs, and the number that it may run."""

    counts: dict[str, int]
    limits: Mapping[str, int]

    def limit(self, node: str) -> int:
        """Return how many tasks the node may run."""
        return self.limits.get(node, UNLIMITED)

    def room(self, node: str) -> int:
        """Return how many more tasks the node may run."""
        return self.limit(node) - self.counts[node]

    def put(self, node: str) -> None:
        """Count one more task of the node."""
        self.counts[node] += 1


def fill(free: Iterable[Open], loads: Loads) -> dict[str, str]:
    """Give each free task a node, tasks with the fewest choices first, as evenly as possible.

    Shapes: returns the node by the task's name; a task is missing when no node has capacity.
    """
    alike: defaultdict[frozenset[str], list[Open]] = defaultdict(list)
    for task in free:
        alike[task.best].append(task)
    placed: dict[str, str] = {}
    for best in sorted(alike, key=lambda nodes: (len(nodes), sorted(nodes))):
        placed.update(_fill_alike(best, alike[best], loads))
    return placed


def _fill_alike(best: frozenset[str], tasks: Sequence[Open], loads: Loads) -> dict[str, str]:
    level, extra = _level(best, len(tasks), loads)
    placed: dict[str, str] = {}
    for task in sorted(tasks, key=_claim):
        node = next((node for node in _choices(task) if _admits(node, level, extra, loads)), None)
        if node is None:
            continue
        if loads.counts[node] >= level:
            extra -= 1
        loads.put(node)
        placed[task.name] = node
    return placed


def _level(best: frozenset[str], count: int, loads: Loads) -> tuple[int, int]:
    """Return the level to which `count` tasks fill these nodes, and how many are left above it."""
    able = [node for node in best if loads.room(node) > 0]
    if not able:
        return 0, 0
    level, left = min(loads.counts[node] for node in able), count
    while True:
        rising = sum(loads.counts[node] <= level < loads.limit(node) for node in able)
        if rising > left:
            return level, left
        if not rising and all(loads.counts[node] <= level for node in able):
            return level, 0  # all are full
        left -= rising
        level += 1


def _admits(node: str, level: int, extra: int, loads: Loads) -> bool:
    count = loads.counts[node]
    return loads.room(node) > 0 and (count < level or (count == level and extra > 0))


def _claim(task: Open) -> tuple[bool, int, str]:
    """Sort tasks whose last holder can run them first, then by claim: the same on every node."""
    first = next(node for node in order(task.key, task.rows) if node in task.best)
    return task.last not in task.best, -_strength(task.key, first), task.name


def _choices(task: Open) -> Iterable[str]:
    if task.last in task.best:
        assert task.last is not None
        yield task.last
    for node in order(task.key, task.rows):
        if node in task.best and node != task.last:
            yield node


# --- chains of moves ----------------------------------------------------------------------------


#: (1 when it runs now, else 0; name): the smallest costs least to move.
_Gift = tuple[int, str]


@dataclass(slots=True)
class Movable:
    """Tasks that may still change their node in this plan.

    tasks: by name.
    at:    the node of each task.
    on:    by node, then by the set of nodes that may run them: tasks, the cheapest to move first.
    """

    tasks: Mapping[str, Open]
    at: dict[str, str]
    on: defaultdict[str, dict[frozenset[str], list[_Gift]]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def put(self, name: str, node: str, *, runs: bool) -> None:
        """Record a task's node in this plan; moving a task that does not run costs nothing."""
        self.at[name] = node
        insort(self.on[node].setdefault(self.tasks[name].best, []), (int(runs), name))

    def cost(self, node: str, to: str) -> int | None:
        """Return the cost of moving a task from `node` to `to`; None when no task can move."""
        costs = [gifts[0][0] for best, gifts in self.on[node].items() if to in best and gifts]
        return min(costs, default=None)

    def move(self, node: str, to: str) -> None:
        """Move one of the cheapest tasks: the one that ranks `to` highest and `node` lowest."""
        cost = self.cost(node, to)
        assert cost is not None, "move follows a cost that is known"
        gifts = (gift for best, some in self.on[node].items() if to in best for gift in some)
        name = min((gift[1] for gift in gifts if gift[0] == cost), key=self._affinity(node, to))
        self.on[node][self.tasks[name].best].remove((cost, name))
        self.put(name, to, runs=False)

    def _affinity(self, node: str, to: str) -> Callable[[str], tuple[int, int, str]]:
        def key(name: str) -> tuple[int, int, str]:
            places = order(self.tasks[name].key, self.tasks[name].rows)
            return places.index(to), -places.index(node), name

        return key


def level_out(movable: Movable, loads: Loads) -> None:
    """Move tasks until no chain of moves makes the loads more even.

    Fuller nodes give first, equal ones by name. Nodes that still have to give later are therefore
    nodes that had to give from the start: no node gives more than it first had to. A chain is
    carried out from its end, so that a node never passes on a task that it has just received.
    """
    if movable.at:
        while _one_chain(movable, loads):
            pass


def _one_chain(movable: Movable, loads: Loads) -> bool:
    lowest = min(loads.counts.values())
    for giver in sorted(loads.counts, key=lambda node: (-loads.counts[node], node)):
        if loads.counts[giver] < lowest + 2:
            return False
        chain = _chain(giver, movable, loads)
        if chain:
            for node, to in reversed(list(pairwise(chain))):
                movable.move(node, to)
            loads.counts[giver] -= 1
            loads.put(chain[-1])
            return True
    return False


def _chain(giver: str, movable: Movable, loads: Loads) -> list[str]:
    """Return the nodes of a chain that takes one task off `giver`; empty if there is none.

    Search by cost over the nodes: a step costs 1 when it moves a running task, else 0.
    """
    known: dict[str, tuple[int, list[str]]] = {giver: (0, [giver])}
    nodes, queue = sorted(loads.counts), deque([giver])
    while queue:
        node = queue.popleft()
        spent, chain = known[node]
        for to in nodes:
            step = None if to in chain else movable.cost(node, to)
            if step is not None and (to not in known or spent + step < known[to][0]):
                known[to] = spent + step, [*chain, to]
                queue.append(to)
    ends = [
        (loads.counts[node], cost, node)
        for node, (cost, _) in known.items()
        if loads.counts[node] <= loads.counts[giver] - 2 and loads.room(node) > 0
    ]
    return known[min(ends)[2]][1] if ends else []

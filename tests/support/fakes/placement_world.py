"""A task group reduced to what placement rests on: a record that changes, and nodes that obey it.

Nodes read, stop, release and take one after the other in any order; the tokens keep their books as
the database does (coordinator/store/node/tasks: take.py and release.py).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from coordinator.protocol.group.placement import Verdict, assignment, placed_as_planned
from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    Standing,
    TaskDef,
    TaskToken,
)

GROUP = "G"


@dataclass(slots=True)
class Row:
    """A token row: who holds it or held it last, and who did when the version was made."""

    node: str | None = None
    held: bool = False
    taken: int | None = None
    base_version: int = -1
    base_node: str | None = None
    base_taken: int | None = None

    def keep_base(self, version: int) -> None:
        """Note who held it, at the first change on this version."""
        if self.base_version != version:
            self.base_version, self.base_node = version, self.node
            self.base_taken = (self.taken or 0) if self.held else None


@dataclass(slots=True)
class PlacementWorld:
    """The group, and what each node has read of it.

    moves:    how often each task has gone from a live node to another.
    stopping: by task, the node that has decided to give it up.
    """

    version: int = 1
    spread_version: int = 0
    tasks: dict[str, TaskDef] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    read: dict[str, GroupRecord] = field(default_factory=dict)
    stopping: dict[str, str] = field(default_factory=dict)
    moves: Counter[str] = field(default_factory=Counter)
    moved_from: dict[str, str] = field(default_factory=dict)

    # --- what changes the record ------------------------------------------------------------------

    def define(self, *tasks: TaskDef) -> None:
        """Add or change tasks."""
        self.tasks |= {task.name: task for task in tasks}
        self.version += 1

    def delete(self, name: str) -> None:
        """Delete a task; its holder gives it back."""
        del self.tasks[name]
        self.version += 1

    def join(self, *names: str, capacity: int | None = None) -> None:
        """Let nodes become Members."""
        for name in names:
            self.nodes[name] = NodeRecord(
                node=name, standing=Standing.MEMBER, live=True, capacity=capacity
            )
        self.version += 1
        self.spread_version = self.version

    def die(self, name: str) -> None:
        """End a node's session: its tokens are free."""
        self.nodes[name] = replace(self.nodes[name], live=False, standing=Standing.REHAB)
        self.read.pop(name, None)
        for task, row in self.rows.items():
            if row.held and row.node == name:
                row.held = False
                self.stopping.pop(task, None)
        self.version += 1

    def back(self, name: str) -> None:
        """Make a node that died a Member again."""
        self.join(name, capacity=self.nodes[name].capacity)

    # --- what nodes do ----------------------------------------------------------------------------

    def record(self) -> GroupRecord:
        """Return what is read at this moment."""
        return GroupRecord(
            version=self.version,
            tasks=dict(self.tasks),
            nodes=dict(self.nodes),
            tokens={name: self._token(row) for name, row in self.rows.items()},
            spread_version=self.spread_version,
        )

    def _token(self, row: Row) -> TaskToken:
        since = (row.taken or 0) if row.held else None
        base = row.base_node, row.base_taken
        base_node, base_taken = base if row.base_version == self.version else (row.node, since)
        return TaskToken(
            term=1,
            node=row.node,
            session=row.node if row.held else None,
            free=not row.held,
            base_node=base_node,
            base_taken=base_taken,
        )

    def choices(self) -> list[tuple[str, str]]:
        """Name what may happen next: (what, of whom)."""
        live = [name for name, row in self.nodes.items() if row.live]
        stale = [n for n in live if n not in self.read or self.read[n] != self.record()]
        found = [("read", name) for name in stale]
        found += [("act", name) for name in live if name in self.read and any(self._wishes(name))]
        found += [("release", task) for task in self.stopping]
        if self.spread_version and placed_as_planned(self.verdicts(), self.record()):
            found.append(("even", ""))
        return found

    def do(self, what: str, whom: str) -> None:
        """Let one of the choices happen."""
        match what:
            case "read":
                self.read[whom] = self.record()
            case "act":
                stops, takes = self._wishes(whom)
                self.stopping |= dict.fromkeys(stops, whom)
                for task in takes:
                    self._take(task, whom)
            case "release":
                self._release(whom)
            case "even":
                self.spread_version = 0
                self.version += 1

    def _wishes(self, node: str) -> tuple[list[str], list[str]]:
        """Return what a node, by what it has read, would stop and take at this moment."""
        record = self.read[node]
        if record.version != self.version:
            return [], []
        verdicts = assignment(GROUP, record)
        held = [name for name, row in self.rows.items() if row.held and row.node == node]
        gone = Verdict(None, "")
        stops = [
            name
            for name in held
            if verdicts.get(name, gone).node != node and name not in self.stopping
        ]
        takes = [
            name
            for name, verdict in verdicts.items()
            if verdict.node == node and not self.rows.setdefault(name, Row()).held
        ]
        return stops, takes

    def _take(self, task: str, node: str) -> None:
        row = self.rows[task]
        row.keep_base(self.version)
        before = self.moved_from.pop(task, node)
        if before != node:
            self.moves[task] += 1
        row.node, row.held, row.taken = node, True, self.version

    def _release(self, task: str) -> None:
        row = self.rows[task]
        del self.stopping[task]
        row.keep_base(self.version)
        row.held = False
        if row.node is not None and self.nodes[row.node].live:
            self.moved_from[task] = row.node

    # --- from outside -----------------------------------------------------------------------------

    def settle(self, rng: random.Random) -> int:
        """Let things happen in any order until nothing is left; return how many did."""
        count = 0
        while choices := self.choices():
            count += 1
            assert count < 60 * (len(self.tasks) + len(self.nodes) + 5), "it does not come to rest"
            self.do(*rng.choice(choices))
        return count

    def verdicts(self) -> dict[str, Verdict]:
        """Return who should run what now."""
        return dict(assignment(GROUP, self.record()))

    def held(self) -> dict[str, str]:
        """Return who holds what."""
        return {name: row.node for name, row in self.rows.items() if row.held and row.node}

    def loads(self) -> Counter[str]:
        """Return how many tasks each live node holds, of those that exist."""
        counts = Counter({name: 0 for name, row in self.nodes.items() if row.live})
        counts.update(node for task, node in self.held().items() if task in self.tasks)
        return counts

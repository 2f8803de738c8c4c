"""Place tasks on nodes: a pure function of the group's record (docs/protocol.md, rules P).

Every node computes the placement itself. The placement says which node should run a task; the
task's token row says which node may.

A running task stays where it runs. The record tells who held each token when the record's version
was made. Placement rests on that alone, so that every node finds the same at one version, however
many tokens were taken since. Free tasks go to the nodes with the fewest tasks. Tasks are moved only
after a node became a Member, and only as many as make the loads even (spreading.py,
docs/adr/0021-placement-by-holders.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from coordinator.protocol.group import spreading
from coordinator.protocol.group.spreading import Loads, Movable, Open
from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    Standing,
    TaskDef,
    TaskToken,
    token_name,
)
from coordinator.protocol.messages.planned import PlannedChange
from coordinator.protocol.rules.planned import draining, said, takes_paused, work_paused

#: Name of the catch-up of a new node or one in Rehab, where the name of a task would stand.
CATCH_UP = "_catchup"
VERDICTS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """Node that should run a task, and the reason.

    node:   None: no node at present.
    reason: fixed text, for people.
    alert:  an operator should be told.
    """

    node: str | None
    reason: str
    alert: bool = False


class _Pool(NamedTuple):
    """Nodes that a definition allows: all with a row, and those that may run the task now."""

    rows: tuple[str, ...]
    able: frozenset[str]


def responsible(group: str, task: TaskDef, record: GroupRecord) -> Verdict:
    """Return the verdict for one task; for several, use `assignment`, which costs the same."""
    tasks = {**record.tasks, task.name: task}
    return assignment(group, replace(record, tasks=tasks))[task.name]


def mentor_of(group: str, pupil: str, record: GroupRecord) -> str | None:
    """Return the live Member that checks a node's catch-up, by hash; None without Member (P11)."""
    members = [row.node for row in record.nodes.values() if _runs_tasks(row) and _able(row)]
    others = tuple(name for name in members if name != pupil)
    return spreading.order(token_name(group, f"{CATCH_UP}/{pupil}"), others)[0] if others else None


def assignment(group: str, record: GroupRecord) -> Mapping[str, Verdict]:
    """Return the node that should run each task of the group, with the reason.

    Shapes: by the task's name, for every task of the record.
    Errors: none; a contradiction in the record (an unknown preferred node) stands in the reason.
    Source: docs/protocol.md, rules P1 to P12, A2, A3 and A5.
    """
    return MappingProxyType(_Plan(group, record).made())


def placed_as_planned(verdicts: Mapping[str, Verdict], record: GroupRecord) -> bool:
    """Say whether every move and every first take has been completed; none is in a pause."""
    if takes_paused(record.planned) is not None:
        return False
    failed = {task for task, _ in record.failures}
    return not any(
        verdict.node is not None and task not in failed and _on_its_way(record.token(task), verdict)
        for task, verdict in verdicts.items()
    )


def _on_its_way(token: TaskToken, verdict: Verdict) -> bool:
    if token.base_holder is None:
        return token.free
    return token.base_holder != verdict.node and (token.free or token.node != verdict.node)


def _runs_tasks(row: NodeRecord) -> bool:
    return row.priority > 0 and row.hosts_tasks


def _able(row: NodeRecord) -> bool:
    return row.live and row.standing is Standing.MEMBER


class _Plan:
    """One evaluation of a record: fixed tasks, staying tasks, free tasks, moves."""

    def __init__(self, group: str, record: GroupRecord) -> None:
        self._group = group
        self._record = record
        rows = [row for row in record.nodes.values() if _runs_tasks(row)]
        drained = draining(record.planned)
        able = [row for row in rows if _able(row) and row.node not in drained]
        self._loads = Loads(
            counts={row.node: 0 for row in able},
            limits={row.node: row.capacity for row in able if row.capacity is not None},
        )
        # Sorted: the record has its nodes in any order, and each order would be hashed anew.
        self._names = tuple(sorted(row.node for row in rows))
        self._pools: dict[tuple[str, ...], _Pool] = {}
        self._failed = {task for task, _ in record.failures}
        self._verdicts: dict[str, Verdict] = {}

    def made(self) -> dict[str, Verdict]:
        """Decide about every task, the most constrained first."""
        paused = takes_paused(self._record.planned)
        if paused is not None:
            return {name: self._paused(task, paused) for name, task in self._record.tasks.items()}
        wanting: list[TaskDef] = []
        open_tasks: list[TaskDef] = []
        for name in sorted(self._record.tasks):
            task = self._record.tasks[name]
            verdict = self._insisted(task)
            if verdict is None:
                open_tasks.append(task)
            elif verdict.node is not None and verdict.node != self._holder(task):
                wanting.append(task)
            else:
                self._say(task, verdict)
        staying = [task for task in open_tasks if self._holder(task) is not None]
        stay = {task.name for task in staying}
        for task in staying:
            holder = self._holder(task)
            assert holder is not None
            self._say(task, _stays(holder, *self._remark(task)))
        for task in wanting:
            self._want(task, open_tasks)
        self._spread([task for task in open_tasks if task.name not in stay], staying)
        return {name: self._verdicts[name] for name in self._record.tasks}

    def _paused(self, task: TaskDef, pause: PlannedChange) -> Verdict:
        """Return the verdict in a pause: a holder goes on, unless the work is paused as well."""
        if not task.enabled:
            return Verdict(None, "disabled")
        stays = None if work_paused(self._record.planned) else self._holder(task)
        return Verdict(stays, f"the group is paused: {said(pause)}")

    def _say(self, task: TaskDef, verdict: Verdict) -> None:
        self._verdicts[task.name] = verdict
        if verdict.node is not None:
            self._loads.put(verdict.node)

    def _pool(self, task: TaskDef) -> _Pool:
        found = self._pools.get(task.nodes)
        if found is None:
            rows = tuple(name for name in self._names if not task.nodes or name in task.nodes)
            able = frozenset(name for name in rows if name in self._loads.counts)
            found = self._pools[task.nodes] = _Pool(rows, able)
        return found

    def _holder(self, task: TaskDef) -> str | None:
        """Return the holder when the version was made, if that node may still run the task (P3)."""
        holder = self._record.token(task.name).base_holder
        return holder if holder in self._pool(task).able else None

    def _insisted(self, task: TaskDef) -> Verdict | None:
        """Return the verdict that the definition dictates; None when several nodes will do."""
        pool = self._pool(task)
        if not task.enabled:
            return Verdict(None, "disabled")
        if task.pinned and task.preferred is not None:
            if task.preferred in pool.able:
                return Verdict(task.preferred, "pinned")
            return Verdict(None, f"waits for {task.preferred} (pinned)", alert=True)
        last = self._record.token(task.name).base_node
        if not task.failover and last in pool.rows:
            if last in pool.able:
                return Verdict(last, "held it last (failover = false)")
            return Verdict(None, f"waits for {last} (failover = false)", alert=True)
        if not pool.able:
            of = f" of [{', '.join(task.nodes)}]" if task.nodes else ""
            return Verdict(None, f"nobody may: no live Member{of}", alert=True)
        holder = self._holder(task)
        if not task.failback and holder is not None:
            return Verdict(holder, "stays (failback = false)")
        if task.preferred in self._best(task):
            return Verdict(task.preferred, "preferred")
        return None

    def _want(self, task: TaskDef, open_tasks: list[TaskDef]) -> None:
        """Give a task the node that its definition dictates, if that has capacity left (P12)."""
        verdict = self._insisted(task)
        assert verdict is not None
        assert verdict.node is not None
        if self._loads.room(verdict.node) > 0:
            self._say(task, verdict)
        elif verdict.reason == "preferred":
            holder = self._holder(task)
            if holder is None:
                open_tasks.append(task)
            else:
                self._say(task, Verdict(holder, f"stays; {verdict.node} has no room"))
        else:
            reason = f"{verdict.reason}: {verdict.node} has no room"
            self._say(task, Verdict(None, reason, alert=True))

    def _best(self, task: TaskDef) -> frozenset[str]:
        """Return the nodes that may run the task and on which it failed least often (P10)."""
        able = self._pool(task).able
        if task.name not in self._failed:
            return able
        counts = {node: self._record.failures.get((task.name, node), 0) for node in able}
        fewest = min(counts.values())
        return frozenset(node for node in able if counts[node] == fewest)

    def _spread(self, free: list[TaskDef], staying: list[TaskDef]) -> None:
        """Place free tasks, and move those that have to move after a node became a Member."""
        spread_version = self._record.spread_version
        moving = [
            task
            for task in staying
            if (self._record.token(task.name).base_taken or 0) < spread_version
        ]
        tasks = {task.name: self._open(task) for task in (*free, *moving)}
        placed = spreading.fill((tasks[task.name] for task in free), self._loads)
        movable = Movable(tasks=tasks, at={})
        for task in moving:
            movable.put(task.name, self._verdicts[task.name].node or "", runs=True)
        for name, node in placed.items():
            movable.put(name, node, runs=False)
        spreading.level_out(movable, self._loads)
        for task in free:
            self._verdicts[task.name] = self._placed(task, movable.at.get(task.name))
        for task in moving:
            holder, node = self._verdicts[task.name].node, movable.at[task.name]
            if node != holder:
                count = len(self._pool(task).able)
                self._verdicts[task.name] = _moved(node, str(holder), count, *self._remark(task))

    def _open(self, task: TaskDef) -> Open:
        return Open(
            name=task.name,
            key=token_name(self._group, task.name),
            rows=self._pool(task).rows,
            best=self._best(task),
            last=self._record.token(task.name).base_node,
        )

    def _placed(self, task: TaskDef, node: str | None) -> Verdict:
        able = self._pool(task).able
        if node is None:
            reason = f"no room: {_members(len(able))} may run no more programs"
            return Verdict(None, reason, alert=True)
        return _fewest(node, len(able), *self._remark(task))

    def _remark(self, task: TaskDef) -> tuple[str, bool]:
        """Return a remark on a preferred node that cannot run the task, and if it alerts (P5)."""
        preferred = task.preferred
        if preferred is None or preferred in self._pool(task).rows:
            return "", False
        word = "may not run it" if preferred in self._record.nodes else "is unknown"
        return f"; preferred {preferred} {word}", True


def _members(count: int) -> str:
    return "the one live Member" if count == 1 else f"the {count} live Members"


@lru_cache(maxsize=VERDICTS_KEPT)
def _stays(node: str, remark: str, alert: bool) -> Verdict:
    """Return the verdict that most tasks of a node share."""
    return Verdict(node, f"holds it{remark}", alert)


@lru_cache(maxsize=VERDICTS_KEPT)
def _fewest(node: str, count: int, remark: str, alert: bool) -> Verdict:
    return Verdict(node, f"fewest tasks of {count}{remark}", alert)


@lru_cache(maxsize=VERDICTS_KEPT)
def _moved(node: str, holder: str, count: int, remark: str, alert: bool) -> Verdict:
    return Verdict(node, f"fewest tasks of {count}, taken from {holder}{remark}", alert)

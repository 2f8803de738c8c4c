"""Who should run which task: a pure function of the group's record (docs/protocol.md, rules P).

Every node computes it alone. It says who should; the task's token row says who may.

Each task has a home. Homes depend on names, definitions and on which rows of nodes there are, but
never on who is alive: a death therefore moves the dead node's tasks and no other, and its return
brings back exactly those. Within one set of nodes the homes are spread evenly, up to a bound that
the hash alone would break (docs/adr/0008-placement.md).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from coordinator.protocol.group import GroupRecord, NodeRecord, Standing, TaskDef, token_name
from coordinator.protocol.ranking import weight

#: No node is home to more than this share of the mean number of tasks, and SPARE_TASKS. Measured:
#: tighter bounds move more of the other tasks whenever a task or a node is added.
SHARE_MAX_PERCENT = 115
#: Room that lets the hash alone decide in small groups, where one task is a large share.
SPARE_TASKS = 1
#: What the update of a node in Rehab, or of a new one, is called among the tasks of its group.
CATCH_UP = "_catchup"
#: Homes do not depend on who is alive, so they are computed once for many versions of a record.
HOMES_KEPT = 16
#: The same for each task's own order of the nodes: 0.4 MB for a thousand tasks on twenty nodes.
ORDERS_KEPT = 4096
VERDICTS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who should run a task, and why.

    node:   None: nobody now.
    reason: fixed words, for people.
    alert:  an operator should hear of it.
    """

    node: str | None
    reason: str
    alert: bool = False


class _Pool(NamedTuple):
    """The nodes that a definition allows: all that have a row, and those that may run it now."""

    rows: tuple[str, ...]
    able: frozenset[str]


class _Claim(NamedTuple):
    """A task, its rendezvous key, and the nodes of its pool."""

    task: TaskDef
    key: str
    pool: _Pool


def responsible(group: str, task: TaskDef, record: GroupRecord) -> Verdict:
    """Return who should run one task; for more than one, `assignment` costs the same."""
    tasks = {**record.tasks, task.name: task}
    return assignment(group, replace(record, tasks=tasks))[task.name]


def mentor_of(group: str, pupil: str, record: GroupRecord) -> str | None:
    """Return the live Member that sees a node caught up, by hash; None when there is none (P11)."""
    members = [name for name, row in record.nodes.items() if row.priority > 0 and _able(row)]
    others = [name for name in members if name != pupil]
    return _order(token_name(group, f"{CATCH_UP}/{pupil}"), tuple(others))[0] if others else None


def assignment(group: str, record: GroupRecord) -> Mapping[str, Verdict]:
    """Return who should run each task of the group, and why.

    Shapes: by the task's name, for every task of the record.
    Errors: none; what the record contradicts (an unknown preferred node) is said in the reason.
    Source: docs/protocol.md, rules P1 to P10.
    """
    pools = {nodes: _pool(nodes, record) for nodes in {t.nodes for t in record.tasks.values()}}
    claims = [
        _Claim(task=task, key=token_name(group, task.name), pool=pools[task.nodes])
        for task in record.tasks.values()
    ]
    homes = _homes(claims)
    failed = {task for task, _ in record.failures}
    return MappingProxyType(
        {
            claim.task.name: _verdict(claim, homes.get(claim.task.name), record, failed)
            for claim in claims
        }
    )


def _pool(nodes: tuple[str, ...], record: GroupRecord) -> _Pool:
    rows = [
        row
        for name, row in record.nodes.items()
        if row.priority > 0 and (not nodes or name in nodes)
    ]
    able = frozenset(row.node for row in rows if _able(row))
    # Sorted: the record has its nodes in any order, and each order would have homes of its own.
    return _Pool(tuple(sorted(row.node for row in rows)), able)


def _able(row: NodeRecord) -> bool:
    return row.live and row.standing is Standing.MEMBER


@lru_cache(maxsize=ORDERS_KEPT)
def _order(key: str, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the nodes, the highest weight first; equal weights go by name.

    Like homes, it does not depend on who is alive: at a death nobody has to hash anything.
    """
    return tuple(sorted(nodes, key=lambda node: (-weight(key, node), node)))


# --- homes --------------------------------------------------------------------------------------


def _homes(claims: Iterable[_Claim]) -> dict[str, str]:
    """Return the home of each task for which there is any row (rules P2 and P3)."""
    sharing: defaultdict[tuple[str, ...], list[_Settler]] = defaultdict(list)
    for claim in claims:
        if claim.pool.rows:
            settler = (claim.key, claim.task.name, claim.task.preferred)
            sharing[claim.pool.rows].append(settler)
    homes: dict[str, str] = {}
    for rows, alike in sharing.items():
        homes.update(_spread(rows, tuple(sorted(alike))))
    return homes


#: A task's rendezvous key, its name, and its preferred node.
_Settler = tuple[str, str, str | None]


@lru_cache(maxsize=HOMES_KEPT)
def _spread(rows: tuple[str, ...], settlers: tuple[_Settler, ...]) -> Mapping[str, str]:
    """Give each of the tasks that share these rows a home; none gets more than the bound.

    Disabled tasks count: enabling one, or finishing it, moves no other.
    """
    homes = {name: preferred for _, name, preferred in settlers if preferred in rows and preferred}
    counts = Counter(homes.values())
    bound = -(-SHARE_MAX_PERCENT * len(settlers) // (100 * len(rows))) + SPARE_TASKS
    free = [(_order(key, rows)[0], key, name) for key, name, _ in settlers if name not in homes]
    # The strongest claim goes first: then whoever has to give way is the same on every node.
    free.sort(key=lambda one: (-weight(one[1], one[0]), one[2]))
    for first, key, name in free:
        home = first
        if counts[first] >= bound:
            order = _order(key, rows)
            home = next((row for row in order if counts[row] < bound), order[0])
        counts[home] += 1
        homes[name] = home
    return MappingProxyType(homes)


# --- verdicts -----------------------------------------------------------------------------------


def _verdict(claim: _Claim, home: str | None, record: GroupRecord, failed: set[str]) -> Verdict:
    """Return who should run a task: what its definition insists on, else the usual order."""
    task, able = claim.task, claim.pool.able
    if not task.enabled:
        return Verdict(None, "disabled")
    if task.pinned and task.preferred is not None:
        if task.preferred in able:
            return Verdict(task.preferred, "pinned")
        return Verdict(None, f"waits for {task.preferred} (pinned)", alert=True)
    token = record.token(task.name)
    if not task.failover and token.node in claim.pool.rows:
        if token.node in able:
            return Verdict(token.node, "held it last (failover = false)")
        return Verdict(None, f"waits for {token.node} (failover = false)", alert=True)
    if not able:
        of = f" of [{', '.join(task.nodes)}]" if task.nodes else ""
        return Verdict(None, f"nobody may: no live Member{of}", alert=True)
    if not task.failback and not token.free and token.node in able:
        return Verdict(token.node, "stays (failback = false)")
    if task.name in failed:
        counts = {node: record.failures.get((task.name, node), 0) for node in able}
        fewest = min(counts.values())
        able = frozenset(node for node in able if counts[node] == fewest)
    return _usual(claim, home, able, record)


def _usual(claim: _Claim, home: str | None, able: AbstractSet[str], record: GroupRecord) -> Verdict:
    """Return the first of `able`: the preferred node, the home, then by hash (rule P4)."""
    preferred, count = claim.task.preferred, len(claim.pool.able)
    if preferred in able:
        return Verdict(preferred, "preferred")
    remark, alert = "", False
    if preferred is not None and preferred not in claim.pool.rows:
        word = "may not run it" if preferred in record.nodes else "is unknown"
        remark, alert = f"; preferred {preferred} {word}", True
    if home in able:
        return _at_home(home, count, remark, alert)
    word = "failed" if home in claim.pool.able else "is away"
    heir = next(node for node in _order(claim.key, claim.pool.rows) if node in able)
    return Verdict(heir, f"first of {count} by hash, {home} {word}{remark}", alert)


@lru_cache(maxsize=VERDICTS_KEPT)
def _at_home(home: str | None, count: int, remark: str, alert: bool) -> Verdict:
    """Return the verdict that most tasks of a node share."""
    return Verdict(home, f"home, one of {count}{remark}", alert)

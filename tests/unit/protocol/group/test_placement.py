"""Placement of tasks: rule by rule, and golden vectors that a release never changes."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.protocol.group import spreading
from coordinator.protocol.group.placement import Verdict, assignment, responsible
from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    Standing,
    TaskDef,
    TaskToken,
)

GOLDEN = json.loads((Path(__file__).parent / "placement_golden.json").read_text())
PAGE = Path(__file__).parents[4] / "docs/placement.md"
VECTORS = [
    json.loads(block)
    for block in re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
]


def member(name: str) -> NodeRecord:
    return NodeRecord(node=name, standing=Standing.MEMBER, live=True, session=f"s-{name}")


def members(*names: str) -> dict[str, NodeRecord]:
    return {name: member(name) for name in names}


def record(*tasks: TaskDef, **changes: object) -> GroupRecord:
    made = GroupRecord(version=1, tasks={task.name: task for task in tasks}, nodes=ABC)
    return replace(made, **changes)  # type: ignore[arg-type]


def changed(node: str, **changes: object) -> dict[str, NodeRecord]:
    return {**ABC, node: replace(ABC[node], **changes)}  # type: ignore[arg-type]


def held(node: str, *, free: bool = False) -> dict[str, TaskToken]:
    taken = None if free else 1
    token = TaskToken(term=3, node=node, session="x", free=free, base_node=node, base_taken=taken)
    return {"t": token}


ABC = members("A", "B", "C")
T = TaskDef(name="t")
#: The order of A, B and C for the task "t" of the group "G".
FIRST, SECOND, THIRD = "B", "A", "C"


def verdict(task: TaskDef, given: GroupRecord | None = None) -> Verdict:
    return responsible("G", task, given or record(task))


# --- the function itself ------------------------------------------------------------------------


@pytest.mark.parametrize("one", GOLDEN["single"], ids=lambda one: f"{one['group']}/{one['task']}")
def test_golden_vectors_of_single_tasks(one: dict[str, object]) -> None:
    """H2, P2: nodes of two versions must agree, so no release changes the function."""
    nodes = members(*one["nodes"])  # type: ignore[misc]
    task = TaskDef(name=str(one["task"]))
    given = GroupRecord(version=1, tasks={task.name: task}, nodes=nodes)

    assert responsible(str(one["group"]), task, given).node == one["node"]


def golden_record(given: dict[str, Any]) -> GroupRecord:
    """Return the record that a vector of docs/placement.md describes."""
    tasks = {
        name: TaskDef(
            name=name,
            nodes=tuple(one.get("nodes", ())),
            preferred=one.get("preferred"),
            pinned=one.get("pinned", False),
            failback=one.get("failback", True),
        )
        for name, one in given["tasks"].items()
    }
    nodes = {
        name: NodeRecord(
            node=name,
            standing=Standing(one.get("standing", "member")),
            live=one.get("live", True),
            capacity=one.get("capacity"),
        )
        for name, one in given["nodes"].items()
    }
    tokens = {
        name: TaskToken(
            node=one["node"],
            base_node=one["node"],
            base_taken=one.get("taken"),
            free="taken" not in one,
        )
        for name, one in given.get("tokens", {}).items()
    }
    return GroupRecord(
        version=given.get("version", 1),
        tasks=tasks,
        nodes=nodes,
        tokens=tokens,
        spread_version=given.get("spread_version", 0),
    )


@pytest.mark.parametrize("given", VECTORS, ids=lambda given: given["what"])
def test_golden_vectors_of_the_documentation(given: dict[str, Any]) -> None:
    """H2, P2 to P12: nodes of two versions must agree, so no release changes the function."""
    found = assignment(given["group"], golden_record(given))

    assert {name: one.node for name, one in found.items()} == given["answer"]


def test_nothing_is_hashed_anew_when_a_node_dies_or_the_record_comes_in_another_order() -> None:
    """K1: every node places all tasks at every version of the record, while tasks wait for it."""

    def hashings() -> int:
        return spreading.order.cache_info().misses + spreading._strength.cache_info().misses

    tasks = [TaskDef(name=f"hashed-{number}") for number in range(100)]
    before = hashings()
    first = assignment("G", record(*tasks))
    once = hashings()
    backwards = dict(reversed(ABC.items()))
    tokens = {
        name: TaskToken(term=1, node=to.node, free=False, base_node=to.node, base_taken=1)
        for name, to in first.items()
    }

    again = assignment("G", record(*tasks, nodes=backwards))
    kept = assignment("G", record(*tasks, tokens=tokens))

    assert once - before > len(tasks)
    assert hashings() == once
    assert again == first
    assert {name: to.node for name, to in kept.items()} == {n: to.node for n, to in first.items()}


def test_order_of_the_nodes_is_the_one_that_these_tests_assume() -> None:
    """P3: among nodes with equally few tasks the first by hash."""
    assert verdict(T) == Verdict(FIRST, "fewest tasks of 3")
    given = record(T, nodes=changed(FIRST, live=False))
    assert verdict(T, given) == Verdict(SECOND, "fewest tasks of 2")
    only = {**changed(FIRST, live=False), SECOND: replace(ABC[SECOND], live=False)}
    assert verdict(T, record(T, nodes=only)).node == THIRD


def test_one_task_is_judged_as_among_all() -> None:
    tasks = [TaskDef(name=f"t{index}") for index in range(50)]
    given = record(*tasks)

    found = assignment("G", given)

    assert {task.name: responsible("G", task, given) for task in tasks} == found


def test_changed_task_keeps_its_place() -> None:
    """P1"""
    assert verdict(replace(T, revision=9, spec='{"command": ["other"]}')).node == FIRST


# --- who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"live": False},
        {"standing": Standing.PROMOTABLE},
        {"standing": Standing.REHAB},
        {"priority": 0},
    ],
)
def test_only_a_live_member_that_may_take_is_named(change: dict[str, object]) -> None:
    """H1, P1"""
    assert verdict(T, record(T, nodes=changed(FIRST, **change))).node == SECOND


def test_only_nodes_of_the_definition_are_named() -> None:
    """H4, P1"""
    task = replace(T, nodes=(SECOND, THIRD))

    assert verdict(task).node == SECOND
    away = {name: replace(row, live=False) for name, row in ABC.items() if name != FIRST}
    found = verdict(task, record(task, nodes={**ABC, **away}))
    expected = f"nobody may: no live Member of [{SECOND}, {THIRD}]"
    assert found == Verdict(None, expected, alert=True)


def test_a_group_without_a_live_member_is_an_alert() -> None:
    """P9"""
    assert verdict(T, record(T, nodes={})) == Verdict(
        None, "nobody may: no live Member", alert=True
    )


def test_disabled_task_is_nobodys() -> None:
    """H11, P1: no alert: somebody wanted it so."""
    assert verdict(replace(T, enabled=False, pinned=True)) == Verdict(None, "disabled")


# --- preferred and pinned -----------------------------------------------------------------------


def test_preferred_node_goes_first_and_gets_the_task_back() -> None:
    """H7, P5"""
    task = replace(T, preferred=THIRD)

    assert verdict(task) == Verdict(THIRD, "preferred")
    away = record(task, nodes=changed(THIRD, live=False), tokens=held(FIRST))
    assert verdict(task, away).node == FIRST
    back = record(task, tokens=held(FIRST))
    assert verdict(task, back).node == THIRD


def test_preferred_node_that_is_not_yet_a_member_is_not_waited_for() -> None:
    """P5"""
    task = replace(T, preferred=THIRD)
    for standing in (Standing.PROMOTABLE, Standing.REHAB):
        found = verdict(task, record(task, nodes=changed(THIRD, standing=standing)))
        assert found == Verdict(FIRST, "fewest tasks of 2")


def test_unknown_preferred_node_is_ignored_and_said() -> None:
    """P5"""
    expected = Verdict(FIRST, "fewest tasks of 3; preferred X is unknown", alert=True)
    assert verdict(replace(T, preferred="X")) == expected


def test_preferred_node_that_the_definition_excludes_is_said() -> None:
    """P5"""
    found = verdict(replace(T, preferred=FIRST, nodes=(SECOND, THIRD)))
    assert found == Verdict(
        SECOND, f"fewest tasks of 2; preferred {FIRST} may not run it", alert=True
    )


def test_all_tasks_that_prefer_a_returning_node_go_there_and_the_others_make_room() -> None:
    """P4, P5: preference goes beyond the share, and what prefers nobody is levelled around it."""
    preferring = [TaskDef(name=f"p{number}", preferred="C") for number in range(6)]
    others = [TaskDef(name=f"t{number}") for number in range(4)]
    tokens = {
        task.name: TaskToken(
            term=1, node=node, session="x", free=False, base_node=node, base_taken=1
        )
        for task, node in zip((*preferring, *others), "ABABABABAB", strict=True)
    }

    made = assignment("G", record(*preferring, *others, tokens=tokens, spread_version=2))

    assert {made[task.name].node for task in preferring} == {"C"}
    assert Counter(made[task.name].node for task in others) == {"A": 2, "B": 2}
    assert all(made[task.name].node == tokens[task.name].node for task in others)


def test_tasks_that_prefer_a_node_count_for_it() -> None:
    """P3: a node that many tasks prefer gets fewer of the others."""
    tasks = [TaskDef(name=f"t{i}", preferred="A" if i < 40 else None) for i in range(100)]

    found = assignment("G", record(*tasks))

    by_hash = [one for one in found.values() if one.node == "A" and one.reason != "preferred"]
    assert by_hash == []
    assert sum(one.node == "A" for one in found.values()) == 40


def test_pinned_task_waits_for_its_node() -> None:
    """K9, P6"""
    task = replace(T, preferred=THIRD, pinned=True)
    waits = Verdict(None, f"waits for {THIRD} (pinned)", alert=True)

    assert verdict(task) == Verdict(THIRD, "pinned")
    assert verdict(task, record(task, nodes=changed(THIRD, live=False))) == waits
    assert verdict(task, record(task, nodes=changed(THIRD, standing=Standing.REHAB))) == waits
    assert verdict(task, record(task, failures={("t", THIRD): 9})).node == THIRD


def test_pinned_without_a_node_is_ignored() -> None:
    """P6"""
    assert verdict(replace(T, pinned=True)).node == FIRST


# --- failover and failback ----------------------------------------------------------------------


def test_without_failover_a_task_waits_for_the_node_that_held_it_last() -> None:
    """H8, P7"""
    task = replace(T, failover=False)
    away = record(task, nodes=changed(THIRD, live=False), tokens=held(THIRD, free=True))

    assert verdict(task).node == FIRST
    assert verdict(task, away) == Verdict(None, f"waits for {THIRD} (failover = false)", alert=True)
    back = record(task, tokens=held(THIRD, free=True))
    assert verdict(task, back) == Verdict(THIRD, "held it last (failover = false)")


def test_without_failover_a_node_that_was_removed_or_excluded_is_not_waited_for() -> None:
    """H8, P7"""
    task = replace(T, failover=False)
    assert verdict(task, record(task, tokens=held("gone", free=True))).node == FIRST
    others = replace(task, nodes=(FIRST, SECOND))
    assert verdict(others, record(others, tokens=held(THIRD, free=True))).node == FIRST


def test_without_failback_the_live_holder_keeps_its_task() -> None:
    """H5, P8"""
    task = replace(T, failback=False, preferred=FIRST)

    found = verdict(task, record(task, tokens=held(THIRD)))

    assert found == Verdict(THIRD, "stays (failback = false)")
    assert verdict(task, record(task, tokens=held(SECOND, free=True))).node == FIRST
    rehab = record(task, nodes=changed(THIRD, standing=Standing.REHAB), tokens=held(THIRD))
    assert verdict(task, rehab).node == FIRST


def test_a_holder_keeps_its_task() -> None:
    """K4, P3"""
    assert verdict(T, record(T, tokens=held(THIRD))) == Verdict(THIRD, "holds it")


def test_a_task_that_was_free_goes_back_to_whoever_had_it_last() -> None:
    """P3: after the whole group was away, say."""
    assert verdict(T, record(T, tokens=held(THIRD, free=True))).node == THIRD


# --- failures -----------------------------------------------------------------------------------


def test_a_task_goes_round_the_nodes_on_which_it_fails() -> None:
    """P10"""
    failures: Counter[tuple[str, str]] = Counter()
    order = []
    for _ in range(7):
        node = verdict(T, record(T, failures=dict(failures))).node
        assert node is not None
        order.append(node)
        failures["t", node] += 1

    assert order == [FIRST, SECOND, THIRD, FIRST, SECOND, THIRD, FIRST]


def test_failures_go_before_preference_and_are_said() -> None:
    """P10"""
    task = replace(T, preferred=THIRD)
    found = verdict(task, record(task, failures={("t", THIRD): 1}))
    assert found == Verdict(FIRST, "fewest tasks of 3")


def test_failures_of_another_task_or_of_a_node_that_is_away_count_for_nothing() -> None:
    """P10"""
    assert verdict(T, record(T, failures={("other", FIRST): 5})).node == FIRST
    given = record(
        T, nodes=changed(FIRST, live=False), failures={("t", SECOND): 1, ("t", THIRD): 1}
    )
    assert verdict(T, given).node == SECOND


# --- kinds and capacity -------------------------------------------------------------------------


def test_a_node_that_runs_no_tasks_of_the_group_is_never_named() -> None:
    """P1: it holds a lock by name, or runs a program of its own."""
    assert verdict(T, record(T, nodes=changed(FIRST, hosts_tasks=False))).node == SECOND


def test_what_no_node_has_room_for_is_an_alert_and_nothing_moves_for_it() -> None:
    """P12"""
    tasks = [TaskDef(name=f"t{number}") for number in range(5)]
    nodes = {name: replace(row, capacity=1) for name, row in ABC.items()}

    found = assignment("G", record(*tasks, nodes=nodes))

    assert sorted(one.node or "" for one in found.values()) == ["", "", "A", "B", "C"]
    left = [one for one in found.values() if one.node is None]
    reason = "no room: the 3 live Members may run no more programs"
    assert left == [Verdict(None, reason, alert=True)] * 2


def test_a_preferred_or_pinned_node_without_room_gets_no_more() -> None:
    """P12"""
    nodes = changed(FIRST, capacity=0)
    away = replace(T, preferred=FIRST)
    assert verdict(away, record(away, nodes=nodes)).node == SECOND
    stays = verdict(away, record(away, nodes=nodes, tokens=held(THIRD)))
    assert stays == Verdict(THIRD, f"stays; {FIRST} has no room")
    pinned = replace(away, pinned=True)
    found = verdict(pinned, record(pinned, nodes=nodes))
    assert found == Verdict(None, f"pinned: {FIRST} has no room", alert=True)

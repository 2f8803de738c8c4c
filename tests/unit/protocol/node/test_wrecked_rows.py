"""Rows deleted under live nodes: no node spins, no two run at once, and the program runs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.protocol.messages.group_record import TaskDef
from tests.simulation.group.script import GroupScript
from tests.simulation.plans.script import TIMING
from tests.simulation.world.settings import GROUP
from tests.support.fakes.memory_database import MemoryDatabase
from tests.support.fakes.memory_operator import define

#: A heartbeat, and what a heartbeat may bring with it now and then: a look at the group's record,
#: at the sessions, a report.
ASKED_PER_HEARTBEAT_MAX = 4
HEARTBEATS = 40


def delete_tokens(database: MemoryDatabase) -> None:
    database.tokens.clear()


def delete_tokens_and_history(database: MemoryDatabase) -> None:
    database.tokens.clear()
    database.history.clear()


def delete_nodes(database: MemoryDatabase) -> None:
    database.nodes.clear()


def delete_holder(database: MemoryDatabase) -> None:
    for token in database.tokens.values():
        if token.node is not None:
            database.nodes.pop((GROUP, token.node), None)


def delete_record(database: MemoryDatabase) -> None:
    database.versions.clear()


def delete_epochs(database: MemoryDatabase) -> None:
    database.epochs.clear()


def truncate_all(database: MemoryDatabase) -> None:
    for rows in (database.nodes, database.tokens, database.history, database.versions):
        rows.clear()
    database.epochs.clear()


def forget_sessions(database: MemoryDatabase) -> None:
    """Restore one table from an old dump under live connections."""
    for key, row in database.nodes.items():
        database.nodes[key] = replace(row, session=None, ended=True)


WRECKS = (
    delete_tokens,
    delete_tokens_and_history,
    delete_nodes,
    delete_holder,
    delete_record,
    delete_epochs,
    truncate_all,
    forget_sessions,
)


def group(hosts_tasks: bool) -> GroupScript:
    script = GroupScript("n0", "n1", "n2", hosts_tasks=hosts_tasks)
    if hosts_tasks:
        for name in ("t0", "t1"):
            define(script.database, GROUP, TaskDef(name=name))
    script.go_on(4 * TIMING.liveness_s)
    assert running(script), "the group runs before it is wrecked"
    return script


def running(script: GroupScript) -> dict[str, list[str]]:
    """Return for each program the nodes that run it."""
    found: dict[str, list[str]] = {}
    for name, scripted in script.nodes.items():
        for start in scripted.running.values():
            found.setdefault(start.task, []).append(name)
    return found


def _never(name: str) -> None:
    """Make no row."""


def delete_tokens_for_good(database: MemoryDatabase) -> None:
    """Delete rows that cannot come back: the role may not insert, or a trigger drops the row."""
    database.tokens.clear()
    database.ensure_token = _never  # type: ignore[method-assign]


@pytest.mark.parametrize("hosts_tasks", [False, True], ids=["program", "tasks"])
@pytest.mark.parametrize(
    "wreck", [*WRECKS, delete_tokens_for_good], ids=lambda wreck: wreck.__name__
)
def test_nobody_asks_more_often_than_its_heartbeat(
    wreck: Callable[[MemoryDatabase], None], hosts_tasks: bool
) -> None:
    """O7"""
    script = group(hosts_tasks)
    wreck(script.database)
    before = {name: len(scripted.asked) for name, scripted in script.nodes.items()}

    script.go_on(HEARTBEATS * TIMING.heartbeat_s)

    for name, scripted in script.nodes.items():
        asked = scripted.asked[before[name] :]
        kinds = [type(request).__name__ for _, request in asked]
        assert len(asked) <= ASKED_PER_HEARTBEAT_MAX * HEARTBEATS, (name, kinds[-20:])


@pytest.mark.parametrize("hosts_tasks", [False, True], ids=["program", "tasks"])
@pytest.mark.parametrize("wreck", WRECKS, ids=lambda wreck: wreck.__name__)
def test_somebody_runs_again_and_never_two_at_once(
    wreck: Callable[[MemoryDatabase], None], hosts_tasks: bool
) -> None:
    """O7, R5: also where the rows lack what the running program's node knows."""
    script = group(hosts_tasks)
    programs = set(running(script))
    wreck(script.database)

    at_once: list[dict[str, list[str]]] = []
    while script.now < 4 * TIMING.liveness_s + 60:
        script.go_on(TIMING.heartbeat_s / 10)
        at_once.append(running(script))

    if wreck is not truncate_all:
        # What was never written down anywhere cannot be told from a new group.
        doubled = [found for found in at_once if any(len(nodes) > 1 for nodes in found.values())]
        assert doubled == []
    assert set(running(script)) == programs


def test_a_fresh_node_waits_for_a_cut_off_holder_whose_token_left_no_trace() -> None:
    """N1, N2: neither its row nor its history; a living session tells that there was one."""
    script = group(hosts_tasks=False)
    (holder,) = running(script)[""]
    ((_, last),) = script.database.history
    script.nodes[holder].cut_off = True
    script.silent |= script.nodes.keys() - {holder}
    delete_tokens_and_history(script.database)
    script.add("fresh")

    at_once = [running(script)]
    while running(script).get("") != ["fresh"] and script.now < 8 * TIMING.liveness_s:
        script.go_on(TIMING.heartbeat_s / 10)
        at_once.append(running(script))

    assert max(len(found.get("", ())) for found in at_once) == 1
    assert running(script) == {"": ["fresh"]}
    ((_, term),) = script.database.history
    assert term > last

"""Thirty programs under one guardian: each keeps its own deadline, and none is left; real ones."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.runtime.isolation import levels as isolation
from coordinator.runtime.linux.capacity import DESCRIPTORS_MAX
from tests.support.bounds import within
from tests.support.nodes import programs
from tests.support.nodes.guarded_node import GuardedNode, Voice, await_death, now

pytestmark = pytest.mark.real

LEVELS = [level.name for level in isolation.available() if level.available]
each_level = pytest.mark.parametrize("level", LEVELS)

MANY = 30
#: Enough for two cores, and others' work on them, to bring thirty programs up.
LEASE_S = 5.0
#: From a deadline until a test on a busy machine has seen thirty programs dead.
SEEN_DEAD_S = 1.0
#: No test waits for so long: a program that has this much grace ends by itself or not at all.
GRACE_S = 60.0
#: A login shell's limit on many systems; thirty runs and an agent do not fit into 64.
FEW_DESCRIPTORS = 64

Start = Callable[..., GuardedNode]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    nodes: list[GuardedNode] = []

    def start(level: str = "auto", **settings: object) -> GuardedNode:
        node = GuardedNode(tmp_path / str(len(nodes)), level, **settings)
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.close()


def start_many(node: GuardedNode, agent: Voice, *shapes: str) -> dict[int, int]:
    """Start a program of each shape, all at once; return the first process of each run."""
    before = len(node.members)
    for shape in shapes:
        node.start(agent, *node.argv(shape), lease_s=LEASE_S)
    agent.order(keep=LEASE_S)
    pids = {}
    for _ in shapes:
        started = agent.hear("started", "refused")
        assert started["say"] == "started", started
        pids[started["run"]] = started["pid"]
    known = programs.SHAPES | programs.PLAIN_SHAPES
    node.await_members(before + sum(known[shape] for shape in shapes))
    return pids


def mixed() -> list[str]:
    """Return thirty shapes, awkward ones among them."""
    return ["escapee", "ignores_term", *["sleeps"] * (MANY - 2)]


# --- one of many ----------------------------------------------------------------------------------


@each_level
def test_stop_of_one_leaves_the_others_running(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    pids = start_many(node, agent, *["sleeps"] * MANY)

    agent.tell(say="stop", run=7, grace_s=GRACE_S, reason="test")

    told = agent.hear("ended")
    assert (told["run"], told["status"], told["why"]) == (7, -15, "stopped")
    del pids[7]
    assert set(node.survivors()) == set(pids.values())
    assert "ended" not in agent.heard_so_far()


@each_level
def test_a_program_that_ignores_term_delays_no_other(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    start_many(node, agent, "ignores_term", *["sleeps"] * (MANY - 1))

    for run in range(1, MANY + 1):
        agent.tell(say="stop", run=run, grace_s=GRACE_S, reason="test")
    ended = [agent.hear("ended") for _ in range(MANY - 1)]

    assert {message["run"] for message in ended} == set(range(2, MANY + 1))
    assert {message["why"] for message in ended} == {"stopped"}
    assert len(node.survivors()) == 1
    agent.tell(say="kill", run=1)
    assert agent.hear("ended")["run"] == 1


@each_level
def test_each_program_dies_at_its_own_deadline(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    start_many(node, agent, *["ignores_term"] * MANY)
    agent.order(keep=None)
    kept_until = agent.hear("kept")["until"]
    moments = {run: kept_until + 0.02 * run for run in range(1, MANY + 1)}
    for run, until in moments.items():
        agent.tell(say="extend", run=run, trusted_until=until)

    late_s = []
    for _ in moments:
        message = agent.hear("ended")
        late_s.append(now() - moments[message["run"]])
        assert message["why"] == "trust"

    assert min(late_s) > -0.01, late_s
    within(max(late_s), SEEN_DEAD_S, late_s)


@each_level
def test_a_burst_of_starts_delays_no_deadline(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    node.start(agent, *node.argv("ignores_term"), lease_s=1.0)
    until = now() + 1.0
    node.await_members(1)
    agent.hear("started")
    agent.hear("stopping")

    for _ in range(100):
        node.start(agent, "sleep", "60", lease_s=GRACE_S)
    ended = agent.hear("ended")
    late_s = now() - until

    assert (ended["run"], ended["why"]) == (1, "trust")
    within(late_s, SEEN_DEAD_S)
    assert {agent.hear("started")["run"] for _ in range(100)} == set(range(2, 102))


# --- all at once ----------------------------------------------------------------------------------


@each_level
def test_killed_guardian_leaves_no_survivor_of_many(start: Start, level: str):
    """Rule G7."""
    node = start(level)
    agent = node.meet_agent()
    start_many(node, agent, *mixed())

    os.kill(node.guardian.pid, signal.SIGKILL)

    assert agent.hear("guardian_gone")["killed"]
    assert node.survivors() == []
    node.await_deaths()


@each_level
def test_killed_agent_takes_all_with_it_and_its_successor_hears_of_it_once(
    start: Start, level: str
):
    """Rule G5."""
    node = start(level)
    agent = node.meet_agent()
    agent.tell(say="session", session="s-1", term=7)
    start_many(node, agent, *mixed())

    os.kill(agent.pid, signal.SIGKILL)
    successor = node.meet_agent()
    first = successor.hear("ended")
    survivors = node.survivors()
    own = start_many(node, successor, "sleeps")
    successor.tell(say="kill", run=node.runs)

    assert successor.found["dying"]
    assert (first["run"], first["why"]) == (EVERY_RUN, "agent")
    assert survivors == []
    assert list(own) == [node.runs]
    assert successor.hear("ended")["run"] == node.runs
    assert "ended" not in successor.heard_so_far()
    assert node.leave(successor) == 0


@each_level
def test_own_run_of_a_successor_is_reported_while_inherited_ones_still_die(
    start: Start, level: str
):
    """Rule G5."""
    node = start(level)
    agent = node.meet_agent()
    order = {"stop_timeout_s": LEASE_S - 0.1}  # it has long to end, and does not
    node.start(agent, *node.argv("ignores_term"), lease_s=2 * LEASE_S, **order)
    agent.hear("started")
    node.await_members(1)

    os.kill(agent.pid, signal.SIGKILL)
    successor = node.meet_agent()
    node.start(successor, *node.argv("ends"), lease_s=GRACE_S)

    assert successor.hear("started")["run"] == node.runs
    own, last = successor.hear("ended"), successor.hear("ended")
    assert (own["run"], own["status"], own["why"]) == (node.runs, 7, "itself")
    assert (last["run"], last["why"]) == (EVERY_RUN, "agent")
    assert node.survivors() == []


@each_level
def test_stopped_agent_loses_all_programs_at_their_deadlines(start: Start, level: str):
    """Rule G1."""
    node = start(level)
    agent = node.meet_agent(silence_max_s=2 * LEASE_S)
    start_many(node, agent, *["ignores_term"] * MANY)

    os.kill(agent.pid, signal.SIGSTOP)
    stopped_at = now()
    dead_at = node.await_deaths()

    within(dead_at, stopped_at + LEASE_S + SEEN_DEAD_S)
    assert node.survivors() == []
    await_death(agent)
    assert node.leave(node.meet_agent()) == 0


@each_level
def test_fresh_spare_knows_all_that_run_before_it_came(start: Start, level: str):
    node = start(level)
    agent, spare = node.meet_agent(), node.meet("spare")
    start_many(node, agent, *mixed())
    os.kill(spare.pid, signal.SIGKILL)
    fresh = node.meet("spare")
    runs = fresh.hear("runs")["runs"]

    for pid in (agent.pid, node.guardian.pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (agent.pid, node.guardian.pid):
        os.kill(pid, signal.SIGKILL)

    assert [number for number, _ in runs] == list(range(1, MANY + 1))
    assert fresh.hear("guardian_gone")["killed"]
    assert node.survivors() == []


def test_spare_that_did_not_read_is_told_everything_anew(start: Start):
    node = start()
    agent, spare = node.meet_agent(), node.meet("spare")
    spare.hear("runs")
    start_many(node, agent, "sleeps")
    os.kill(spare.pid, signal.SIGSTOP)
    for term in range(10, 2010):  # more than a socket holds
        agent.tell(say="session", session="s-1", term=term)
        if term % 100 == 0:
            agent.order(barrier=True)
            agent.hear("passed")
    node.start(agent, *node.argv("sleeps"), lease_s=GRACE_S, task="other")
    agent.hear("started")
    os.kill(spare.pid, signal.SIGCONT)

    everything = spare.hear("runs")

    assert everything["term"] == 2009
    assert [number for number, _ in everything["runs"]] == [1, 2]


# --- descriptors ----------------------------------------------------------------------------------


def test_guardian_has_room_for_many_runs_and_programs_keep_their_own_limit(start: Start):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # A limit of the guardian alone: this process may have more open already.
    node = start("plain", through=("sh", "-c", f'ulimit -Sn {FEW_DESCRIPTORS}; exec "$@"', "sh"))
    agent = node.meet_agent()

    pids = start_many(node, agent, *["sleeps"] * MANY)

    assert _soft_limit(node.guardian.pid) == min(hard, DESCRIPTORS_MAX)
    assert {_soft_limit(pid) for pid in pids.values()} == {FEW_DESCRIPTORS}
    assert _soft_limit(agent.pid) == FEW_DESCRIPTORS


def _soft_limit(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]

"""Every awkward shape of program, at every level of isolation, dies in time in every way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.protocol.rules.timing import KILL_BOUND_S
from coordinator.runtime.isolation import cgroup
from coordinator.runtime.isolation import levels as isolation
from tests.support.bounds import within
from tests.support.nodes import programs
from tests.support.nodes.guarded_node import (
    LEASE_S,
    STOP_TIMEOUT_S,
    WAIT_S,
    GuardedNode,
    Voice,
    await_death,
    await_fact,
    now,
)

pytestmark = pytest.mark.real

LEVELS = [level.name for level in isolation.available() if level.available]
#: From the end of trust until a test on a busy machine has seen six programs dead.
SEEN_DEAD_S = 1.0
#: A guardian that owes an echo for this long is taken for frozen where a test wants it.
ECHO_MAX_S = 0.3


class Cast:
    """One node for each shape, all at work at the same time."""

    def __init__(self, folder: Path, level: str) -> None:
        self.nodes: dict[str, GuardedNode] = {}
        self.agents: dict[str, Voice] = {}
        self.spares: dict[str, Voice] = {}
        try:
            self._start(folder, level)
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, level: str) -> None:
        for shape in programs.SHAPES:
            self.nodes[shape] = GuardedNode(folder / shape, level)
        for shape, node in self.nodes.items():
            self.agents[shape] = node.meet_agent()
            self.spares[shape] = node.meet("spare")
        for shape, node in self.nodes.items():
            node.start(self.agents[shape], *node.argv(shape))
            self.agents[shape].order(keep=LEASE_S)
        for shape, node in self.nodes.items():
            node.await_shape(self.agents[shape], shape)

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    def await_deaths(self) -> float:
        return max(node.await_deaths() for node in self.nodes.values())

    def survivors(self) -> dict[str, list[int]]:
        found = {shape: node.survivors() for shape, node in self.nodes.items()}
        return {shape: pids for shape, pids in found.items() if pids}

    def ended(self, agents: dict[str, Voice]) -> set[str]:
        return {agent.hear("ended")["why"] for agent in agents.values()}

    def leave(self, agents: dict[str, Voice]) -> None:
        for agent in agents.values():
            agent.order(end=0)
        for shape, node in self.nodes.items():
            assert node.guardian.wait(WAIT_S) == 0, (shape, node.stderr())


@pytest.fixture
def cast(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cast]:
    cast = Cast(tmp_path, request.param)
    yield cast
    cast.close()
    guardians = {node.guardian.pid for node in cast.nodes.values()}
    await_fact(lambda: not _cgroups(guardians), f"cgroups left: {_cgroups(guardians)}")


def _cgroups(guardians: set[int]) -> set[str]:
    """Return the cgroups that these guardians made: others may be at work on this machine."""
    owned = tuple(f"-{pid}-" for pid in guardians)
    try:
        names = os.listdir(cgroup.home())
    except OSError:
        return set()
    return {name for name in names if name.startswith("coord-") and any(o in name for o in owned)}


each_level = pytest.mark.parametrize("cast", LEVELS, indirect=True)


@each_level
def test_nothing_lives_when_trust_has_run_out(cast: Cast):
    for agent in cast.agents.values():
        agent.order(keep=None)
    until = max(agent.hear("kept")["until"] for agent in cast.agents.values())

    dead_at = cast.await_deaths()

    within(dead_at, until + SEEN_DEAD_S)
    assert cast.ended(cast.agents) == {"trust"}
    assert cast.survivors() == {}
    cast.leave(cast.agents)


@pytest.mark.parametrize("level", LEVELS)
def test_death_follows_the_deadline_closely(tmp_path: Path, level: str):
    node = GuardedNode(tmp_path, level)
    late_s = []
    try:
        agent = node.meet_agent()
        for _ in range(3):
            node.forget_members()
            node.start_shape(agent, "escapee")
            agent.order(keep=None)
            until = agent.hear("kept")["until"]
            late_s.append(node.await_deaths() - until)
            agent.hear("ended")
    finally:
        node.close()

    # The best of three shows the mechanism; the others show what else the machine had to do.
    within(min(late_s), KILL_BOUND_S / 4, late_s)
    within(max(late_s), SEEN_DEAD_S, late_s)
    assert min(late_s) > -0.01, late_s


@each_level
def test_nothing_lives_when_the_agent_has_stopped_the_program(cast: Cast):
    for shape, agent in cast.agents.items():
        agent.tell(say="stop", run=cast.nodes[shape].runs, grace_s=0.1, reason="test")

    assert cast.ended(cast.agents) == {"stopped"}
    assert cast.survivors() == {}
    cast.await_deaths()
    cast.leave(cast.agents)


@each_level
def test_nothing_lives_when_the_agent_has_killed_the_program(cast: Cast):
    for shape, agent in cast.agents.items():
        agent.tell(say="kill", run=cast.nodes[shape].runs)

    assert cast.ended(cast.agents) == {"killed"}
    assert cast.survivors() == {}
    cast.await_deaths()
    cast.leave(cast.agents)


@each_level
def test_killed_agent_takes_the_program_with_it_and_the_spare_takes_over(cast: Cast):
    """Rule G5."""
    for agent in cast.agents.values():
        os.kill(agent.pid, signal.SIGKILL)
    killed_at = now()
    successors = {shape: node.meet_agent() for shape, node in cast.nodes.items()}

    assert all(agent.found["dying"] for agent in successors.values())
    assert {s: a.pid for s, a in successors.items()} == {s: a.pid for s, a in cast.spares.items()}
    assert cast.ended(successors) == {"agent"}
    within(cast.await_deaths(), killed_at + LEASE_S + SEEN_DEAD_S)
    assert cast.survivors() == {}
    cast.leave(successors)


@each_level
def test_stopped_agent_loses_its_program_in_time(cast: Cast):
    for agent in cast.agents.values():
        agent.tell(say="hello", silence_max_s=2 * LEASE_S, stop_timeout_s=STOP_TIMEOUT_S)
        agent.order(barrier=True)
        agent.hear("passed")
    for agent in cast.agents.values():
        os.kill(agent.pid, signal.SIGSTOP)
    stopped_at = now()

    dead_at = cast.await_deaths()

    within(dead_at, stopped_at + LEASE_S + SEEN_DEAD_S)
    assert cast.survivors() == {}
    for agent in cast.agents.values():
        await_death(agent)
    cast.leave({shape: node.meet_agent() for shape, node in cast.nodes.items()})


@each_level
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_agent_kills_by_the_handle_when_the_guardian_is(cast: Cast, signum: signal.Signals):
    """Rule G7, by a fake agent."""
    for node in cast.nodes.values():
        os.kill(node.guardian.pid, signum)
    signalled_at = now()
    word = "guardian_gone" if signum == signal.SIGKILL else "guardian_frozen"
    if signum == signal.SIGSTOP:
        # Not before: a guardian that the machine held up for so long is not frozen.
        for agent in cast.agents.values():
            agent.order(patience=ECHO_MAX_S)

    told = {shape: agent.hear(word)["killed"] for shape, agent in cast.agents.items()}

    assert told == dict.fromkeys(cast.nodes, True)
    assert cast.survivors() == {}
    within(cast.await_deaths(), signalled_at + 2 * SEEN_DEAD_S)


@each_level
def test_spare_kills_by_the_handle_when_guardian_and_agent_die_together(cast: Cast):
    for spare in cast.spares.values():
        spare.hear("running")
    for shape, node in cast.nodes.items():
        os.kill(cast.agents[shape].pid, signal.SIGSTOP)
        os.kill(node.guardian.pid, signal.SIGSTOP)
        os.kill(cast.agents[shape].pid, signal.SIGKILL)
        os.kill(node.guardian.pid, signal.SIGKILL)

    told = {shape: spare.hear("guardian_gone")["killed"] for shape, spare in cast.spares.items()}

    assert told == dict.fromkeys(cast.nodes, True)
    assert cast.survivors() == {}
    cast.await_deaths()

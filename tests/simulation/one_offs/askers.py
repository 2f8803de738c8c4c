"""Processes that ask for one-off commands, on every host, at any moment, and may go again."""

from __future__ import annotations

import random

from coordinator.protocol.node.events import OneOffAsked, OneOffWithdrawn
from tests.simulation.world.agent import Agent
from tests.simulation.world.host import Host
from tests.simulation.world.world import World

#: Seconds between two requests on one host, at most.
PAUSE_MAX_S = 2.0
#: Share of the askers that are gone before their command has ended, and how soon.
GONE, GONE_WITHIN_S = 0.3, 3.0


def schedule(world: World) -> None:
    """Have one-offs asked for while faults go on; the other draws of a seed stay as they are."""
    rng = random.Random(f"one-offs/{world.settings.seed}")
    for host in world.hosts:
        moment, number = rng.uniform(0.0, PAUSE_MAX_S), 0
        while moment < world.settings.faults_until_s:
            number += 1
            world.at(moment, _ask, host, number)
            if rng.random() < GONE:
                world.at(moment + rng.uniform(0.0, GONE_WITHIN_S), _withdraw, host, number)
            moment += rng.uniform(0.0, PAUSE_MAX_S)


def _ask(host: Host, number: int) -> None:
    agent = host.agent
    if agent is not None and not host.frozen:
        agent.deliver(_read, agent, number)


def _read(agent: Agent, number: int) -> None:
    """Read a request: its moment is that of the reading, however long the agent stood still."""
    agent.take_in(OneOffAsked(agent.host.local(), number, "address", "asker"))


def _withdraw(host: Host, number: int) -> None:
    agent = host.agent
    if agent is not None and not host.frozen:
        agent.deliver(_end, agent, number)


def _end(agent: Agent, number: int) -> None:
    agent.take_in(OneOffWithdrawn(agent.host.local(), number))

"""The fixtures `world` (memory, PostgreSQL, the same with roles) and `node`, which has joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.team import Team
from tests.conformance.worlds import (
    TIMEOUT_S,
    LeastPrivileges,
    MemoryWorld,
    Node,
    PostgresWorld,
    World,
    facts_of,
)

NodeMaker = Callable[..., Node]


REAL = pytest.mark.real


@pytest.fixture(
    params=["memory", pytest.param("postgres", marks=REAL), pytest.param("roles", marks=REAL)]
)
def world(request: pytest.FixtureRequest) -> World:
    match request.param:
        case "memory":
            return MemoryWorld()
        case "postgres":
            return PostgresWorld(request.getfixturevalue("database"))
        case _:
            roles = request.getfixturevalue("roles")
            return LeastPrivileges(roles.database, roles)


@pytest.fixture
def connected(world: World) -> Iterator[NodeMaker]:
    """Make nodes that are connected, but have not joined."""
    nodes: list[Node] = []

    def make(name: str, **facts: object) -> Node:
        known = facts_of(name, **facts)
        nodes.append(Node(known, world.store(known).connect(TIMEOUT_S)))
        return nodes[-1]

    yield make
    for node in nodes:
        node.connection.close()


@pytest.fixture
def node(connected: NodeMaker) -> NodeMaker:
    """Make nodes that have joined."""

    def make(name: str, **facts: object) -> Node:
        made = connected(name, **facts)
        assert made.join().done
        return made

    return make


@pytest.fixture
def team(world: World, node: NodeMaker) -> Team:
    return Team(world, node)

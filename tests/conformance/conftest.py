"""The fixtures `world` (memory and PostgreSQL) and `node` (a node of it that has joined)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.worlds import (
    TIMEOUT_S,
    MemoryWorld,
    Node,
    PostgresWorld,
    World,
    facts_of,
)

NodeMaker = Callable[..., Node]


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.real)])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    return PostgresWorld(request.getfixturevalue("database"))


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

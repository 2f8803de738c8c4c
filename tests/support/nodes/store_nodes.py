"""Nodes on a real PostgreSQL, for tests that need many of them or their innards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from coordinator.store.connection.postgres import PostgresStore
from tests.conformance.worlds import TIMEOUT_S, Node, facts_of


@contextmanager
def connected_node(
    database: Any, name: str, *, timeout_s: float = TIMEOUT_S, **facts: Any
) -> Iterator[Node]:
    """Connect a node that has not joined; `database` has conninfo and schema."""
    known = facts_of(name, **facts)
    store = PostgresStore(database.conninfo, database.schema, known)
    node = Node(known, store.connect(timeout_s))
    try:
        yield node
    finally:
        node.connection.close()


@contextmanager
def joined_nodes(database: Any, *names: str, **facts: Any) -> Iterator[list[Node]]:
    """Connect nodes that have joined."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(connected_node(database, name, **facts)) for name in names]
        for node in nodes:
            assert node.join().done
        yield nodes


def settle(node: Node) -> None:
    """Take in what was notified, and beat in both forms: the first one looks at everything."""
    node.connection.heard()
    node.beat()
    node.beat()

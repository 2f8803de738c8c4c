"""The store port on a MemoryDatabase: how one simulated node reaches the database."""

from __future__ import annotations

from coordinator.errors import DatabaseUnreachableError
from coordinator.protocol.messages.requests import Answer, NodeFacts, Request
from tests.support.fakes.memory_database import MemoryDatabase
from tests.support.fakes.memory_rows import Snapshot

__all__ = ["MemoryConnection", "MemoryDatabase", "MemoryStore", "Snapshot"]


class MemoryStore:
    """Opens connections of one node to a MemoryDatabase."""

    def __init__(self, database: MemoryDatabase, facts: NodeFacts) -> None:
        self.database = database
        self.facts = facts

    def connect(self, timeout_s: float) -> MemoryConnection:  # noqa: ARG002
        if not self.database.available:
            raise DatabaseUnreachableError("memory: no database answers")
        self.database.prepare(self.facts)
        connection = MemoryConnection(self.database, self.facts)
        self.database.connections.append(connection)
        return connection


class MemoryConnection:
    """One connection; `open` is false once it was aborted, closed or broken."""

    def __init__(self, database: MemoryDatabase, facts: NodeFacts) -> None:
        self.database = database
        self.facts = facts
        self.open = True
        self.notified = False

    def ask(self, request: Request, timeout_s: float) -> Answer:  # noqa: ARG002
        self._check()
        return self.database.carry_out(self.facts, request)

    def fileno(self) -> int:
        """There is no socket to wait on: ask `heard` after each step."""
        return -1

    def heard(self) -> bool:
        self._check()
        heard, self.notified = self.notified, False
        return heard

    def abort(self) -> None:
        self.open = False

    def close(self) -> None:
        self.open = False
        if self in self.database.connections:
            self.database.connections.remove(self)

    def _check(self) -> None:
        if not self.open or not self.database.available:
            raise DatabaseUnreachableError("memory: the connection is closed")

"""The store port on a MemoryDatabase for nodes that run in threads, with a hook at each request."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace

from coordinator.protocol.messages.requests import Answer, NodeFacts, Request
from tests.support.fakes.memory_database import MemoryDatabase
from tests.support.fakes.memory_store import MemoryConnection


def _nothing(moment: str) -> None:
    """Do nothing, which is the default at every moment."""


class ThreadedStores:
    """Makes stores on one database; `at` hears of each moment in the thread that it belongs to.

    Moments: "connect", and of each request "asking X" and "answered X", X being its class's name.
    """

    def __init__(self, at: Callable[[str], None] = _nothing) -> None:
        self.database = MemoryDatabase()
        self.lock = threading.RLock()
        self.at = at

    def __call__(self, facts: NodeFacts) -> ThreadedStore:
        return ThreadedStore(self, facts)

    def held(self) -> list[str]:
        """Name the tokens that a session holds."""
        with self.lock:
            return [name for name, token in self.database.tokens.items() if token.session]

    def living(self) -> list[str]:
        """Name the nodes whose session has not ended."""
        with self.lock:
            rows = self.database.nodes.items()
            return [node for (_, node), row in rows if row.session and not row.ended]

    def end_sessions(self) -> None:
        """End every session, as another node does that takes its node for dead."""
        with self.lock:
            for name, row in self.database.nodes.items():
                self.database.nodes[name] = replace(row, ended=True)


class ThreadedStore:
    """One node's store."""

    def __init__(self, stores: ThreadedStores, facts: NodeFacts) -> None:
        self._stores, self._facts = stores, facts

    def connect(self, timeout_s: float) -> ThreadedConnection:  # noqa: ARG002
        self._stores.at("connect")
        with self._stores.lock:
            self._stores.database.prepare(self._facts)
            connection = ThreadedConnection(self._stores, self._facts)
            self._stores.database.connections.append(connection)
            return connection


class ThreadedConnection(MemoryConnection):
    """A MemoryConnection under a lock, with a descriptor that tells of a notification."""

    def __init__(self, stores: ThreadedStores, facts: NodeFacts) -> None:
        self._stores = stores
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        super().__init__(stores.database, facts)

    @property
    def notified(self) -> bool:
        return self._notified

    @notified.setter
    def notified(self, value: bool) -> None:
        self._notified = value
        if value:
            os.eventfd_write(self._wake, 1)

    def ask(self, request: Request, timeout_s: float) -> Answer:
        name = type(request).__name__
        self._stores.at(f"asking {name}")
        with self._stores.lock:
            answer = super().ask(request, timeout_s)
        self._stores.at(f"answered {name}")
        return answer

    def fileno(self) -> int:
        return self._wake

    def heard(self) -> bool:
        with self._stores.lock:
            if self._notified:
                os.eventfd_read(self._wake)
            return super().heard()

    def abort(self) -> None:
        with self._stores.lock:
            super().abort()
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        with self._stores.lock:
            super().close()
            os.close(self._wake)
            self._wake = -1

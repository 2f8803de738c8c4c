"""Ports that the runtime needs from outside: a clock, a store, a program."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from coordinator.protocol.messages.requests import Answer, Request
from coordinator.protocol.messages.schedule_claims import Claim


class Clock(Protocol):
    """A clock that goes on while the machine is suspended, and never steps."""

    def now(self) -> float:
        """Return seconds since a fixed moment of this machine, the same in all processes."""
        ...


class StoreConnection(Protocol):
    """One connection of one node to the database; used by one thread at a time.

    Promises (tests/conformance proves them for the fake and for PostgreSQL):
      - `ask` writes in one transaction: all of it is committed, or none.
      - When `ask` raises, the outcome is unknown (OutcomeUnknownError) or the database did not
        answer (DatabaseUnreachableError); in both cases the connection must be closed.
      - Only DatabaseRefusedError, SchemaError and UnsafeServerError are final.
    """

    def ask(self, request: Request, timeout_s: float) -> Answer:
        """Carry out one request; block at most about timeout_s while the network is alive."""
        ...

    def fileno(self) -> int:
        """Return the socket; it is readable when `heard` may have a notification."""
        ...

    def heard(self) -> bool:
        """Consume notifications that have arrived; true when the group changed.

        The next heartbeat then reads everything. If this is never called, every heartbeat does.
        Errors: DatabaseUnreachableError when the connection is closed.
        """
        ...

    def abort(self) -> None:
        """Close the socket under a blocked `ask`; callable from any thread, never blocks."""
        ...

    def close(self) -> None:
        """Close the connection; called by the thread that uses it."""
        ...


class Store(Protocol):
    """Open connections for one node."""

    def connect(self, timeout_s: float) -> StoreConnection:
        """Connect to a writable database whose schema version is supported.

        Errors: DatabaseUnreachableError (try again), DatabaseRefusedError, SchemaError,
        UnsafeServerError (final).
        """
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """Answer of a schedule's record to a claim, with the database's clock."""

    claim: Claim
    now: datetime | None  #: None: this session does not hold the token, and nothing was read

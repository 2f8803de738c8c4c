"""Ports that the runtime needs from outside: a clock, a store, a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from coordinator.protocol.messages.requests import Answer, Request
from coordinator.protocol.messages.schedule_claims import Claim
from coordinator.protocol.operations.types import Location, Plan, SubtaskEnd, TypeSpec
from coordinator.protocol.rules.saved_state import StateSeen, StateWanted


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


class StatePort(Protocol):
    """State of one token, as one holding of it sees and saves it (rules Y).

    Promises (tests/conformance proves them for the fake and for PostgreSQL):
      - `get` returns exactly the bytes that were put last, by this holding or an earlier one.
      - Once a later holding has begun, both raise TokenLostError, and nothing is saved.
    """

    def get(self) -> bytes | None:
        """Return the state that was saved last; None when none ever was."""
        ...

    def put(self, content: bytes) -> int:
        """Save a state and return its sequence; refuse one of more than STATE_BYTES_MAX bytes."""
        ...


class StateReader(Protocol):
    """Reads the states of tokens before the programs that need them are started."""

    def read(self, wanted: Sequence[StateWanted]) -> Mapping[str, StateSeen]:
        """Return what one snapshot shows of each token that is there; may block for seconds.

        Errors: DatabaseUnreachableError (try again), DatabaseRefusedError, SchemaError (final).
        """
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """Answer of a schedule's record to a claim, with the database's clock."""

    claim: Claim
    now: datetime | None  #: None: this session does not hold the token, and nothing was read


class ClaimedSubtask(Protocol):
    """A subtask that this process has claimed: the door of a type to its node and the database.

    The claim is a token of its own: (subtask, term, session). The process is killed when its node's
    trust ends, before anybody else can claim the subtask; one that hangs loses its claim sooner
    (rules Q).

    group, node: where this process runs; settings: the node's `NodeSettings`.
    location, location_name: of the statement; the name is None for SYSTEM.
    options: as in the statement, checked against the declaration; defaults are not filled in.
    entity, argument: as planned; of a plan, the group and nothing.
    attempt: 1 for the first claim; above it, what an earlier owner did must be found by looking.
    """

    operation: str
    subtask: str
    group: str
    node: str
    session: str
    term: int
    attempt: int
    location: Location
    location_name: str | None
    options: Mapping[str, Any]
    entity: str
    argument: Mapping[str, Any]
    settings: Any
    schema: str

    def transaction(self) -> AbstractContextManager[Any]:
        """Open a transaction, a psycopg connection, that commits only while the claim is held.

        It holds the subtask's row FOR SHARE: keep it short, and do no file I/O in it.
        Errors: TokenLostError if the claim is no longer this owner's: nothing was written.
        """
        ...

    def stop_asked(self) -> bool:
        """Say whether the operation is cancelled, or the node leaves: end soon, with STOPPED."""
        ...

    def progress(
        self, *, units: int, failed: int = 0, size: int = 0, total_units: int | None = None
    ) -> None:
        """Report what this run has done so far, in total; cheap, so call it after each unit.

        size: in bytes.
        """
        ...


class OperationType(Protocol):
    """A type of operation, named by an entry point of the group `coordinator.operations`.

    The entry point is an object, or a class without arguments. Promises of a type:
      - `plan` only reads. It may run again, on another node.
      - `run` is idempotent and checks itself: a subtask may be run again after any part of it was
        done, by another node. It writes results in `subtask.transaction()`, so under its claim.
      - `run` looks at `stop_asked` after each unit, and leaves no half state.
      - A run that hangs is taken over (Q9), and may wake beside the next one; its claim is over.
    An exception of either is FAILED with its text; TokenLostError ends the run without a report.
    """

    spec: TypeSpec

    def offered(self, settings: Any) -> bool:
        """Say whether a node with these settings can run subtasks of this type."""
        ...

    def plan(self, planning: ClaimedSubtask) -> Plan:
        """Return the subtasks of an operation in the group of `planning`."""
        ...

    def run(self, subtask: ClaimedSubtask) -> SubtaskEnd:
        """Run one subtask to its end, or until it is asked to stop."""
        ...

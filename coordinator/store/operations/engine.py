"""The worker's side of operations: look, claim, report, end, give back.

Each verb is one transaction of a function of the schema (migrations/sql/operation_functions.sql).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

import psycopg

from coordinator.errors import (
    CoordError,
    DatabaseUnreachableError,
    OutcomeUnknownError,
    TokenLostError,
)
from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.operations.claims import Host, Look, OpenSubtask, OwnerSeen
from coordinator.protocol.operations.hung import Hung
from coordinator.protocol.operations.machine import ATTEMPTS_MAX
from coordinator.protocol.operations.types import (
    Location,
    PlannedSubtask,
    SubtaskEnd,
    SubtaskState,
    TypeSpec,
)
from coordinator.store.admin.connection import AdminConnection, Cursor, Rows
from coordinator.store.driver import connect as driver
from coordinator.store.driver.errors import database_error
from coordinator.store.operations.statements import (
    CLAIM,
    END,
    END_SILENT,
    FENCE,
    FORGET,
    HOSTS,
    OFFER,
    OPEN,
    OWNERS,
    REPORT,
    RETURN,
    RETURN_HUNG,
    SERVER,
)
from coordinator.store.sql.fence import NOT_CURRENT
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import surely_failed
from coordinator.store.sql.view import channel_of

T = TypeVar("T")

#: Longest time of one request of the engine, in seconds.
TIMEOUT_S = 5.0
#: Longest statement of a type in a transaction under its claim, in seconds.
TRANSACTION_S = 30.0
#: Subtasks that one look brings: enough for a choice, and few enough to be read often.
OPEN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The database of a worker, and the session of its node."""

    conninfo: str
    schema: str
    where: str
    group: str
    node: str
    session: str


class Engine:
    """The worker's port to the database; reconnects when it has to.

    Used by one thread at a time. Errors of each verb: DatabaseUnreachableError (try again), and
    the final ones of a connection.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: AdminConnection | None = None
        self._lent: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        """Close the connections."""
        for connection in (self._known, self._lent):
            if connection is not None:
                connection.close()
        self._known = self._lent = None

    def offer(self, specs: Iterable[TypeSpec]) -> None:
        """Write what this node offers."""
        types = json.dumps([declaration_of(spec) for spec in specs])
        channel = channel_of(self._place.schema, self._place.group)
        self._call(OFFER, channel=channel, types=types)

    def look(self, types: Iterable[str]) -> Look:
        """Read the open subtasks of the group, and the nodes that matter for them."""
        values = {**self._values(), "types": list(types), "open_max": OPEN_MAX}
        server, seen, hosts, owners = self._with(
            lambda database: database.read_all(SERVER, OPEN, HOSTS, OWNERS, **values)
        )
        return _look_of(server, seen, hosts, owners)

    def claim(self, subtask: OpenSubtask) -> int | None:
        """Claim a subtask that is still as it was seen; return the claim's term, or None."""
        row = self._call(CLAIM, subtask=subtask.id, version=subtask.version)
        return None if row["term"] is None else int(row["term"])

    def report(
        self, subtask: str, term: int, *, units: int, failed: int, size: int, total: int | None
    ) -> str:
        """Write progress; return "run", "stop" or "lost"."""
        values = {"units": units, "failed": failed, "size": size, "total": total}
        return str(self._call(REPORT, subtask=subtask, term=term, **values)["verdict"])

    def end(
        self, subtask: str, term: int, end: SubtaskEnd, planned: tuple[PlannedSubtask, ...] = ()
    ) -> bool:
        """End a claim; false when it is no longer this one."""
        result, subtasks = dict(end.result), [_planned(each) for each in planned]
        row = self._call(
            END,
            subtask=subtask,
            term=term,
            state=str(end.state),
            reason=end.reason,
            result=json.dumps(result) if result else None,
            subtasks=json.dumps(subtasks),
        )
        return bool(row["done"])

    def give_back(self, *, own: bool = False) -> int:
        """Give back the claims of sessions that are over; `own`: of this one's earlier worker."""
        session = self._place.session if own else None
        return int(self._call(RETURN, session=session, attempts_max=ATTEMPTS_MAX)["count"])

    def give_back_hung(self, hung: Hung) -> bool:
        """Give back the claim of another that hangs; false when it shows something new."""
        row = self._call(
            RETURN_HUNG,
            subtask=hung.subtask.id,
            version=hung.subtask.version,
            reports=hung.reports,
            moves=hung.moves,
            attempts_max=ATTEMPTS_MAX,
        )
        return bool(row["done"])

    def forget(self) -> int:
        """Delete some of what finished long ago."""
        return int(self._call(FORGET)["count"])

    def end_silent(self, owner: OwnerSeen) -> bool:
        """End the session of an owner that still shows the beat that was seen."""
        values = {
            **self._values(),
            "owner": owner.node,
            "seen": owner.session,
            "beat": owner.beat,
        }

        def body(cursor: Cursor) -> bool:
            cursor.execute(named(END_SILENT, self._place.schema), values)
            return cursor.rowcount > 0

        return self._with(lambda database: database.write(body))

    @contextmanager
    def transaction(self, subtask: str, term: int) -> Iterator[psycopg.Connection[Any]]:
        """Open a transaction that commits only while the claim is this one's.

        Errors: TokenLostError: nothing was written. OutcomeUnknownError: read again.
        """
        values = {"subtask": subtask, "term": term, "session": self._place.session}
        connection = self._lend()
        try:
            connection.execute(driver.begin(connection, TRANSACTION_S))
            connection.execute(named(FENCE, self._place.schema), values)
            yield connection
            connection.execute(b"COMMIT")
        except psycopg.Error as error:
            if error.sqlstate == NOT_CURRENT:
                raise TokenLostError(
                    f"subtask {subtask}: the claim of term {term} is lost"
                ) from error
            if not surely_failed(error):
                raise OutcomeUnknownError(
                    f"subtask {subtask}: the answer of the database was lost"
                ) from error
            raise
        finally:
            if not connection.closed and connection.info.transaction_status:
                connection.execute(b"ROLLBACK")

    # --- inside -----------------------------------------------------------------------------------

    def _lend(self) -> psycopg.Connection[Any]:
        if self._lent is None or self._lent.closed:
            try:
                self._lent = driver.open_session(self._place.conninfo, timeout_s=TRANSACTION_S)
            except psycopg.Error as error:
                raise database_error(error, self._place.where) from error
        return self._lent

    def _values(self) -> dict[str, object]:
        place = self._place
        return {"group": place.group, "node": place.node, "session": place.session}

    def _call(self, call: LiteralString, **more: object) -> Mapping[str, Any]:
        def body(cursor: Cursor) -> Mapping[str, Any]:
            row = cursor.execute(
                named(call, self._place.schema), {**self._values(), **more}
            ).fetchone()
            assert row is not None, "a function has one row"
            return row

        return self._with(lambda database: database.write(body))

    def _with(self, work: Callable[[AdminConnection], T]) -> T:
        place = self._place
        if self._known is None:
            self._known = AdminConnection(place.conninfo, place.schema, place.where, TIMEOUT_S)
        try:
            return work(self._known)
        except (psycopg.Error, CoordError) as error:
            self._known.close()
            self._known = None
            if isinstance(error, CoordError):
                raise
            if surely_failed(error):
                raise database_error(error, place.where) from error
            raise DatabaseUnreachableError(f"{place.where}: the answer was lost") from error


def declaration_of(spec: TypeSpec) -> dict[str, object]:
    """Return a type's declaration as the database keeps it."""
    return {
        "name": spec.name,
        "locations": sorted(str(location) for location in spec.locations),
        "options": {
            option.key: {"kind": str(option.kind), "names": str(option.names)}
            for option in spec.options
        },
        "result": spec.result,
    }


def _planned(subtask: PlannedSubtask) -> dict[str, object]:
    return {
        "entity": subtask.entity,
        "node": subtask.node,
        "argument": dict(subtask.argument),
        "units": subtask.units,
        "size": subtask.size,
    }


def _look_of(server: Rows, seen: Rows, hosts: Rows, owners: Rows) -> Look:
    (facts,) = server
    return Look(
        identity=Identity(
            system_identifier=0,
            timeline=facts["timeline"],
            started_at=facts["started_at"],
            branch="",
        ),
        any_open=facts["any_open"],
        open=tuple(
            OpenSubtask(
                **{
                    **row,
                    "state": SubtaskState(row["state"]),
                    "location": Location(row["location"]),
                }
            )
            for row in seen
        ),
        hosts=tuple(Host(node=row["node"], types=frozenset(row["types"])) for row in hosts),
        owners=tuple(
            OwnerSeen(**{**row, "liveness_s": float(row["liveness_s"])}) for row in owners
        ),
        watches=not facts["hosts_tasks"],
    )

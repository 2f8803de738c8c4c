"""The ledger of runtime/schedule.py on PostgreSQL: one connection, opened anew when it breaks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import psycopg

from coordinator.app.settings import DatabaseSettings
from coordinator.errors import DatabaseUnreachableError
from coordinator.protocol.schedule import AlreadyFired, Claim, Claimed, Outcome
from coordinator.runtime.timetable import ScheduleSeen
from coordinator.store import schedule as store
from coordinator.store.faults import database_error

T = TypeVar("T")


class DatabaseLedger:
    """Keeps the promises of `Ledger`; used by one thread.

    Every verb is tried twice: between two runs of a slow schedule a firewall or a failover may
    have closed the connection, which only its next use shows. The second try is on a new one.
    """

    def __init__(
        self, database: DatabaseSettings, me: store.Holding, max_count: int | None
    ) -> None:
        self._database, self._me, self._max_count = database, me, max_count
        self._connection: store.Connection | None = None
        #: The slot whose claim ended without an answer: if it is found fired, we have fired it.
        self._unknown: datetime | None = None

    def open(self) -> ScheduleSeen:
        """Read the record, or begin it."""
        row = self._twice(lambda connection: store.read(connection, self._me))
        return ScheduleSeen(
            fired_count=row.fired_count,
            last_fire_at=row.last_fire_at,
            ended=row.ended,
            now=row.now,
        )

    def reopen(self) -> bool:
        """Take back that the schedule has ended."""
        return self._twice(lambda connection: store.reopen(connection, self._me))

    def claim(self, slot: datetime, next_at: datetime | None) -> Claim:
        """Count `slot` as fired; an answer that was lost is asked for again."""

        def ask(connection: store.Connection) -> Claim:
            asked_before, self._unknown = self._unknown == slot, slot
            claim = store.claim(
                connection, self._me, slot=slot, next_at=next_at, max_count=self._max_count
            )
            self._unknown = None
            # Under our term nobody else claims: that was us.
            match claim:
                case AlreadyFired(term, count, same=True) if asked_before and term == self._me.term:
                    return Claimed(count)
                case _:
                    return claim

        return self._twice(ask)

    def finish(
        self, slot: datetime, outcome: Outcome, duration_s: float, error: str | None
    ) -> bool:
        """Write how the run of `slot` went."""
        return self._twice(
            lambda connection: store.finish(
                connection,
                self._me,
                slot=slot,
                outcome=outcome,
                duration_s=duration_s,
                error=error,
            )
        )

    def skipped(self, count: int) -> bool:
        """Count slots that were not run."""
        return self._twice(lambda connection: store.skipped(connection, self._me, count=count))

    def end(self, reason: str) -> bool:
        """Mark the schedule as ended for the whole group."""
        return self._twice(lambda connection: store.end(connection, self._me, reason=reason))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _twice(self, verb: Callable[[store.Connection], T]) -> T:
        try:
            return self._once(verb)
        except DatabaseUnreachableError:
            return self._once(verb)

    def _once(self, verb: Callable[[store.Connection], T]) -> T:
        """Run a verb; after any error the connection is thrown away."""
        try:
            if self._connection is None:
                self._connection = store.open_connection(
                    self._database.conninfo, self._database.connect_timeout_s
                )
            return verb(self._connection)
        except psycopg.Error as error:
            self.close()
            raise database_error(error, self._database.label) from error

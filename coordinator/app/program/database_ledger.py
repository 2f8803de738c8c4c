"""Ledger of a schedule on PostgreSQL: one connection, opened anew when it breaks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import psycopg

from coordinator.app.config.settings import DatabaseSettings
from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.ports import Answered, Clock
from coordinator.protocol.messages.schedule_claims import AlreadyFired, Claimed, Outcome
from coordinator.runtime.schedule.first_slot import ScheduleSeen
from coordinator.runtime.schedule.run_log import error_text, shown
from coordinator.store.driver.errors import database_error
from coordinator.store.program import once
from coordinator.store.program import schedule as store
from coordinator.store.program import schedule_ends as ends

T = TypeVar("T")


class DatabaseLedger:
    """Implementation of `Ledger`, for one thread.

    Every method is tried twice: between two runs of a slow schedule a firewall or a failover may
    have closed the connection, which only its next use shows. The second try uses a new one.
    """

    def __init__(
        self,
        database: DatabaseSettings,
        me: store.Holding,
        max_count: int | None,
        *,
        clock: Clock,
        node_started_at: float,
    ) -> None:
        """node_started_at: on `clock`; a node's start asks for a schedule that was terminated."""
        self._database, self._me, self._max_count = database, me, max_count
        self._clock, self._node_started_at = clock, node_started_at
        self._connection: store.Connection | None = None
        #: Slot whose claim ended without an answer: if it turns out fired, this process fired it.
        self._unknown: datetime | None = None

    def open(self) -> ScheduleSeen:
        """Read the schedule's record, or create it."""
        row = self._twice(lambda connection: store.read(connection, self._me))
        asked_at = row.task_asked_at
        if not self._me.owner:
            asked_at = row.now - timedelta(seconds=self._clock.now() - self._node_started_at)
        return ScheduleSeen(
            fired_count=row.fired_count,
            last_fire_at=row.last_fire_at,
            ended=row.ended,
            end_reason=row.end_reason,
            terminated_at=row.terminated_at,
            asked_at=asked_at,
            unfinished=row.unfinished,
            term=row.term,
            now=row.now,
        )

    def reopen(self, reason: str) -> bool:
        """Revoke the end of the schedule."""
        return self._twice(lambda connection: ends.reopen(connection, self._me, reason=reason))

    def settle(self) -> str | None:
        """Record a run that never ended as one that died; return a sentence about it."""
        died = self._twice(lambda connection: ends.settle(connection, self._me))
        if died is None:
            return None
        run = f"run {died.count} ({shown(died.slot)}) under term {died.term}"
        return f"{run} died: its process, or its node, ended before it; it counts as made"

    def claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Answered:
        """Count `slot` as fired; if the answer is lost, ask again."""

        def ask(connection: store.Connection) -> Answered:
            asked_before, self._unknown = self._unknown == slot, slot
            answered = store.claim(
                connection,
                self._me,
                slot=slot,
                next_at=next_at,
                max_count=self._max_count,
                skipped=skipped,
            )
            self._unknown = None
            # Under this term no other process claims: the lost claim was this process's.
            match answered.claim:
                case AlreadyFired(term, count, same=True) if asked_before and term == self._me.term:
                    return Answered(Claimed(count), answered.now)
                case _:
                    return answered

        return self._twice(ask)

    def unfinished(self) -> bool:
        """Say whether the end of the last run was never written."""
        return self._twice(lambda connection: once.look(connection, self._me)).unfinished

    def claim_again(self, slot: datetime) -> bool:
        """Claim a slot whose starter died; false when it is not to be had.

        It is asked once. If its answer is lost, the slot is not run here.
        """
        return self._once(lambda connection: once.claim_again(connection, self._me, slot=slot))

    def unsure(self, slot: datetime) -> bool:
        """Return True if a claim of this slot was sent and its answer was lost."""
        return self._unknown == slot

    def finish(
        self,
        slot: datetime,
        outcome: Outcome,
        duration_s: float,
        error: str | None,
        terminate: str | None,
    ) -> bool:
        """Record the outcome of the run of `slot`, and the end of the schedule if it is one."""
        return self._twice(
            lambda connection: ends.finish(
                connection,
                self._me,
                slot=slot,
                outcome=outcome,
                duration_s=duration_s,
                error=error,
                terminate=terminate,
            )
        )

    def end(self, reason: str, skipped: int) -> bool:
        """Mark the schedule as ended for the whole group."""
        return self._twice(
            lambda connection: ends.end(connection, self._me, reason=reason, skipped=skipped)
        )

    def alert(self, kind: str, reason: str) -> bool:
        """Record an alert for operators."""
        return self._twice(
            lambda connection: ends.alert(connection, self._me, kind=kind, reason=reason)
        )

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _twice(self, request: Callable[[store.Connection], T]) -> T:
        try:
            return self._once(request)
        except DatabaseUnreachableError:
            return self._once(request)

    def _once(self, request: Callable[[store.Connection], T]) -> T:
        """Send a request; after any error the connection is discarded.

        Errors: always a CoordError: callers do not know the driver's errors.
        """
        try:
            if self._connection is None:
                self._connection = store.open_connection(
                    self._database.conninfo, self._database.connect_timeout_s
                )
            return request(self._connection)
        except psycopg.Error as error:
            self.close()
            raise database_error(error, self._database.label) from error
        except CoordError:
            self.close()
            raise
        except Exception as error:
            self.close()
            what = f"{self._database.label}: unexpected error in the schedule's record"
            raise CoordError(f"{what}: {error_text(error)}") from error

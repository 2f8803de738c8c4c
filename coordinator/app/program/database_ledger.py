"""Ledger of a schedule on PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta

from coordinator.app.program.record_connection import RecordConnection
from coordinator.ports import Answered, Clock
from coordinator.protocol.messages.schedule_claims import AlreadyFired, Claimed, Outcome
from coordinator.runtime.schedule.first_slot import ScheduleSeen
from coordinator.runtime.schedule.run_log import shown
from coordinator.store.program import once
from coordinator.store.program import schedule as store
from coordinator.store.program import schedule_ends as ends


class DatabaseLedger:
    """Implementation of `Ledger`, for one thread; the connection may be that of other ledgers."""

    def __init__(
        self,
        connection: RecordConnection,
        me: store.Holding,
        max_count: int | None,
        *,
        clock: Clock,
        node_started_at: float,
    ) -> None:
        """node_started_at: on `clock`; a node's start asks for a schedule that was terminated."""
        self._connection, self._me, self._max_count = connection, me, max_count
        self._clock, self._node_started_at = clock, node_started_at
        #: Slot whose claim ended without an answer: if it turns out fired, this process fired it.
        self._unknown: datetime | None = None

    def open(self) -> ScheduleSeen:
        """Read the schedule's record, or create it."""
        row = self._connection.ask_twice(lambda connection: store.read(connection, self._me))
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
        return self._connection.ask_twice(
            lambda connection: ends.reopen(connection, self._me, reason=reason)
        )

    def settle(self) -> str | None:
        """Record a run that never ended as one that died; return a sentence about it."""
        died = self._connection.ask_twice(lambda connection: ends.settle(connection, self._me))
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

        return self._connection.ask_twice(ask)

    def unfinished(self) -> bool:
        """Say whether the end of the last run was never written."""
        return self._connection.ask_twice(
            lambda connection: once.look(connection, self._me)
        ).unfinished

    def claim_again(self, slot: datetime) -> bool:
        """Claim a slot whose starter died; false when it is not to be had.

        It is asked once. If its answer is lost, the slot is not run here.
        """
        return self._connection.ask(
            lambda connection: once.claim_again(connection, self._me, slot=slot)
        )

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
        return self._connection.ask_twice(
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
        return self._connection.ask_twice(
            lambda connection: ends.end(connection, self._me, reason=reason, skipped=skipped)
        )

    def alert(self, kind: str, reason: str) -> bool:
        """Record an alert for operators."""
        return self._connection.ask_twice(
            lambda connection: ends.alert(connection, self._me, kind=kind, reason=reason)
        )

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._connection.close()

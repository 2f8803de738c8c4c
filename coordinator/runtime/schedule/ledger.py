"""The port of a schedule to the database: the group's record of fired slots."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from coordinator.ports import Answered
from coordinator.protocol.messages.schedule_claims import Outcome
from coordinator.runtime.schedule.first_slot import ScheduleSeen


class Ledger(Protocol):
    """The group's record of its schedule; every method but `open` requires the current term.

    Errors of all: DatabaseUnreachableError when the database does not answer now. The ledger itself
    finds out whether a claim with a lost answer was made.
    """

    def open(self) -> ScheduleSeen:
        """Read the record, or create it."""
        ...

    def reopen(self, reason: str) -> bool:
        """Withdraw the end of the schedule."""
        ...

    def settle(self) -> str | None:
        """Record a run without an end as one that died; return a text about it."""
        ...

    def claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Answered:
        """Count `slot` as fired, if permitted; skipped: earlier slots that nobody runs."""
        ...

    def unsure(self, slot: datetime) -> bool:
        """Say whether a claim of this slot was sent and its answer lost."""
        ...

    def finish(
        self,
        slot: datetime,
        outcome: Outcome,
        duration_s: float,
        error: str | None,
        terminate: str | None,
    ) -> bool:
        """Record how the run of `slot` went; false when this node no longer holds the token.

        terminate: reason for which the error policy ends the schedule with it, for the whole group.
        """
        ...

    def end(self, reason: str, skipped: int) -> bool:
        """Mark the schedule as ended for the whole group; skipped: slots that nobody runs."""
        ...

    def alert(self, kind: str, reason: str) -> bool:
        """Record an alert for an operator."""
        ...

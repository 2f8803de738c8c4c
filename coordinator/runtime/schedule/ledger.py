"""Needs of a schedule from the database: the group's record of what was fired."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from coordinator.ports import Answered
from coordinator.protocol.messages.schedule_claims import Outcome
from coordinator.runtime.schedule.first_slot import ScheduleSeen


class Ledger(Protocol):
    """The group's record of its schedule; every verb but `open` holds only under our term.

    Errors of all: DatabaseUnreachableError when it cannot be asked now; a claim that may or may
    not have been made is found out by the ledger itself.
    """

    def open(self) -> ScheduleSeen:
        """Read the record, or begin it."""
        ...

    def reopen(self, reason: str) -> bool:
        """Take back that the schedule has ended."""
        ...

    def settle(self) -> str | None:
        """Write down a run that never ended as one that died; returns what to tell of it."""
        ...

    def claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Answered:
        """Count `slot` as fired, if it may be; skipped: slots before it that nobody runs."""
        ...

    def unsure(self, slot: datetime) -> bool:
        """Tell whether a claim of this slot was sent, and its answer lost."""
        ...

    def finish(
        self,
        slot: datetime,
        outcome: Outcome,
        duration_s: float,
        error: str | None,
        terminate: str | None,
    ) -> bool:
        """Write how the run of `slot` went; false when the token is not ours any more.

        terminate: why the error policy ends the schedule with it, for the whole group.
        """
        ...

    def end(self, reason: str, skipped: int) -> bool:
        """Mark the schedule as ended for the whole group; skipped: slots that nobody runs."""
        ...

    def alert(self, kind: str, reason: str) -> bool:
        """Write down what an operator should hear of."""
        ...

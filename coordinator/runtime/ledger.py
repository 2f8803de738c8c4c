"""What a schedule needs of the database: the group's record of what was fired."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from coordinator.protocol.schedule import Claim, Outcome
from coordinator.runtime.timetable import ScheduleSeen


class Ledger(Protocol):
    """The group's record of its schedule; every verb but `open` holds only under our term.

    Errors of all: DatabaseUnreachableError when it cannot be asked now; a claim that may or may
    not have been made is found out by the ledger itself.
    """

    def open(self) -> ScheduleSeen:
        """Read the record, or begin it."""
        ...

    def reopen(self) -> bool:
        """Take back that the schedule has ended, because its settings allow more."""
        ...

    def claim(self, slot: datetime, next_at: datetime | None) -> Claim:
        """Count `slot` as fired, if it may be."""
        ...

    def finish(
        self, slot: datetime, outcome: Outcome, duration_s: float, error: str | None
    ) -> bool:
        """Write how the run of `slot` went; false when the token is not ours any more."""
        ...

    def skipped(self, count: int) -> bool:
        """Count slots that were not run."""
        ...

    def end(self, reason: str) -> bool:
        """Mark the schedule as ended for the whole group."""
        ...

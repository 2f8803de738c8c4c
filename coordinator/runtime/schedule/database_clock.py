"""The clock of a schedule: the database's, as each of its answers shows it."""

from __future__ import annotations

from datetime import datetime

from coordinator.errors import DatabaseUnreachableError
from coordinator.ports import Answered, Clock
from coordinator.protocol.messages.schedule_claims import RECORD_AHEAD_MAX_S
from coordinator.runtime.schedule.asked_runs import AskedRunMaker
from coordinator.runtime.schedule.calendar.server_time import ServerTime
from coordinator.runtime.schedule.first_slot import ScheduleSeen
from coordinator.runtime.schedule.ledger import Ledger
from coordinator.runtime.schedule.run_log import RunLog, shown
from coordinator.runtime.schedule.waits import Waits

#: While nothing is due, the database's clock is read at this interval: it may be set meanwhile.
LOOK_AGAIN_S = 60.0


class ScheduleClock:
    """Tells the database's time, and notices when that clock was set.

    stepped: it was set since the schedule was opened, so the schedule must be opened again.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        waits: Waits,
        log: RunLog,
        asked: AskedRunMaker | None = None,
    ) -> None:
        """asked: runs by hand, which are looked for while nothing is due."""
        self._ledger, self._clock, self._waits, self._log = ledger, clock, waits, log
        self._asked = asked
        self._time = ServerTime(clock)
        self.stepped = False

    def now(self) -> datetime:
        """Return the time on the database's clock."""
        return self._time.now()

    def until_s(self, moment: datetime) -> float:
        """Return the seconds until a moment; negative when it has passed."""
        return self._time.until_s(moment)

    def open(self) -> ScheduleSeen:
        """Read the record in order to begin from it, and the database's clock with it."""
        seen = self._look()
        self.stepped = False
        return seen

    def claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Answered:
        """Claim a slot, and read the database's clock with the answer."""
        asked_at = self._clock.now()
        answered = self._ledger.claim(slot, next_at, skipped)
        if answered.now is not None:
            self._learn(answered.now, asked_at)
        return answered

    def wait_until(self, slot: datetime) -> None:
        """Return when a slot is due, or when the database's clock turns out to have been set.

        Errors: RunStoppedError at a stop, TokenLostError.
        """
        self._wait(slot, None)

    def wait_for_run(self, slot: datetime) -> datetime | None:
        """Wait like `wait_until`, or until somebody asks for a run by hand; return its slot."""
        return self._wait(slot, self._asked)

    def _wait(self, slot: datetime, asked: AskedRunMaker | None) -> datetime | None:
        self._waits.pause(0.0)
        while True:
            by_hand = None if asked is None else asked.due()
            wait_s = self._time.until_s(slot)
            if by_hand is not None or wait_s <= 0 or self.stepped:
                return by_hand
            pause = self._waits.pause if asked is None else asked.wait
            pause(min(wait_s, LOOK_AGAIN_S))
            if self._time.age_s() >= LOOK_AGAIN_S:
                try:
                    self._look()
                except DatabaseUnreachableError:
                    self._waits.trust.check()  # nothing is due, and the agent reports outages

    def tell_ahead(self, seen: ScheduleSeen) -> None:
        """Alert that the record lies ahead of the database's clock."""
        assert seen.last_fire_at is not None, "a record without runs is not ahead"
        what = "waits for it" if seen.ahead_s <= RECORD_AHEAD_MAX_S else "begins anew"
        self.alert(
            "schedule-ahead",
            f"the last run ({shown(seen.last_fire_at)}) lies {seen.ahead_s:.1f} s ahead of the"
            f" database's clock, which was set back: the schedule {what}",
        )

    def alert(self, event: str, text: str) -> None:
        """Log an alert for an operator, and record it if the database answers."""
        self._log.warn(event, f"ALERT: {text}")
        try:
            self._ledger.alert(event, text)
        except DatabaseUnreachableError as error:
            self._log.warn("alert-unwritten", f"the alert is not written: {error}")

    def _look(self) -> ScheduleSeen:
        asked_at = self._clock.now()
        seen = self._ledger.open()
        self._learn(seen.now, asked_at)
        return seen

    def _learn(self, now: datetime, asked_at: float) -> None:
        if stepped_s := self._time.learn(now, asked_at):
            self.stepped = True
            text = f"the database's clock was set by {stepped_s:+.1f} s: the schedule goes by it"
            self.alert("clock-stepped", text)

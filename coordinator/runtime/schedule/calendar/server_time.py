"""The database's clock, extrapolated by this machine's boot clock between two reads.

A node's wall clock is not used: it may be stepped at any moment. The boot clock never steps, and
goes on while the machine is suspended.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from coordinator.ports import Clock

#: A smaller difference is a correction of the database's clock that does not affect a schedule.
STEP_MIN_S = 2.0
#: Upper limit of the drift of two clocks that are each wrong by 10 % (rule T1), with a margin.
DRIFT_MAX = 0.25


class ServerTime:
    """Time on the database's clock, as estimated by this machine; never ahead of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read: datetime | None = None
        self._read_at = 0.0  #: this machine's clock, when the answer had arrived

    def learn(self, now: datetime, asked_at: float) -> float:
        """Take the database's time from an answer to a request that was sent at asked_at.

        Returns the seconds by which that clock was set since the last answer; 0 when the round
        trip, and the rates of the two clocks, explain the difference.
        """
        arrived_at = self._clock.now()
        stepped_s = 0.0
        if self._read is not None:
            allowed_s = STEP_MIN_S + DRIFT_MAX * (arrived_at - self._read_at)
            earliest_s = (now - self._at(arrived_at)).total_seconds()
            latest_s = (now - self._at(asked_at)).total_seconds()
            if earliest_s > allowed_s:
                stepped_s = earliest_s
            elif latest_s < -allowed_s:
                stepped_s = latest_s
        self._read, self._read_at = now, arrived_at
        return stepped_s

    def now(self) -> datetime:
        """Return the time on the database's clock now."""
        return self._at(self._clock.now())

    def until_s(self, moment: datetime) -> float:
        """Return the seconds from now to a moment; negative when it has passed."""
        return (moment - self.now()).total_seconds()

    def age_s(self) -> float:
        """Return the seconds since the database's clock was read."""
        return self._clock.now() - self._read_at

    def _at(self, our_moment: float) -> datetime:
        assert self._read is not None, "the database's clock is read before anything is scheduled"
        return self._read + timedelta(seconds=our_moment - self._read_at)

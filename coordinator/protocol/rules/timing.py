"""The intervals of one node, and the inequality that keeps two programs from overlapping.

A standby takes a token over when it has seen no heartbeat for `liveness_s` on its own clock. The
holder's program must be dead by then on every clock whose rate is within RATE_ERROR of true:

    liveness_s  >=  (1 + RATE_ERROR) * (lease_s / (1 - RATE_ERROR) + KILL_BOUND_S)

so the lease is derived from liveness_s and never set by hand. docs/protocol.md, rule T1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from coordinator.errors import TimingError

#: Every clock in use runs within 10 % of true: chrony may slew by 8 to 10 %.
RATE_ERROR = 0.10
#: Seconds from the end of trust until no process of the program exists.
KILL_BOUND_S = 0.2
#: Missed heartbeats after which a program is told to end.
MISSED_MAX = 2
#: Upper limit of the default stop timeout, in seconds.
STOP_TIMEOUT_MAX_S = 10.0
#: liveness_s must hold this many heartbeats: two may be missed, after the third the node is dead.
HEARTBEATS_PER_LIVENESS = 3


def lease_of(liveness_s: float) -> float:
    """Return the seconds for which one acknowledged heartbeat may be trusted.

    Units: seconds; the lease runs on the holder's clock, liveness_s on the watcher's.
    """
    return (1 - RATE_ERROR) * (liveness_s / (1 + RATE_ERROR) - KILL_BOUND_S)


def liveness_of(lease_s: float) -> float:
    """Return the livenessCheckInterval that gives this lease."""
    return (1 + RATE_ERROR) * (lease_s / (1 - RATE_ERROR) + KILL_BOUND_S)


def default_stop_timeout(liveness_s: float, heartbeat_s: float) -> float:
    """Return half of the lease left after two heartbeats, at most STOP_TIMEOUT_MAX_S."""
    return max(0.0, min(STOP_TIMEOUT_MAX_S, (lease_of(liveness_s) - MISSED_MAX * heartbeat_s) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The intervals that one node runs with, all in seconds.

    Errors: TimingError names key, value and rule when the intervals cannot keep programs apart.
    """

    liveness_s: float = 30.0
    heartbeat_s: float = 1.0
    stop_timeout_s: float = -1.0  #: negative: the default of `default_stop_timeout`

    def __post_init__(self) -> None:
        if self.heartbeat_s <= 0:
            raise TimingError(f"heartbeatFrequency ({self.heartbeat_s:g} s) must be above 0")
        if self.liveness_s < HEARTBEATS_PER_LIVENESS * self.heartbeat_s:
            raise TimingError(
                f"livenessCheckInterval ({self.liveness_s:g} s) must be at least"
                f" 3 x heartbeatFrequency ({self.heartbeat_s:g} s)"
            )
        if self.stop_timeout_s < 0:
            derived = default_stop_timeout(self.liveness_s, self.heartbeat_s)
            object.__setattr__(self, "stop_timeout_s", derived)
        if self.lease_s < MISSED_MAX * self.heartbeat_s:
            least_s = math.ceil(100 * liveness_of(MISSED_MAX * self.heartbeat_s)) / 100
            raise TimingError(
                f"livenessCheckInterval ({self.liveness_s:g} s) gives a lease of"
                f" {self.lease_s:.2f} s, which must hold 2 x heartbeatFrequency"
                f" ({self.heartbeat_s:g} s): livenessCheckInterval = {least_s:g} does"
            )

    @property
    def lease_s(self) -> float:
        """Seconds for which one acknowledged heartbeat is trusted, counted from its sending."""
        return lease_of(self.liveness_s)

    @property
    def attempt_s(self) -> float:
        """Seconds after which an unanswered request is given up and its socket is closed.

        Two attempts fit between a missed heartbeat and the moment at which the program must stop.
        """
        return (self.lease_s - self.last_stop_s(self.stop_timeout_s) - self.heartbeat_s) / 2

    def last_stop_s(self, stop_timeout_s: float) -> float:
        """Return how long before the end of trust a program with this stop timeout is told to end.

        The result never exceeds the lease less two missed heartbeats. In an ordinary stop trust is
        still renewed, so the program gets its whole stop timeout.
        """
        return max(0.0, min(stop_timeout_s, self.room_s))

    @property
    def room_s(self) -> float:
        """Seconds of the lease that two missed heartbeats leave."""
        return self.lease_s - MISSED_MAX * self.heartbeat_s

    @property
    def gap_max_s(self) -> float:
        """Longest gap between answers, in seconds, that does not interrupt a standby's watching."""
        return 2 * self.liveness_s / 3

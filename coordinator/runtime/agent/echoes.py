"""Intervals at which an agent pings its guardian, and its patience for the echo."""

from __future__ import annotations

from coordinator.protocol.rules.timing import Timing

#: Seconds between pings while a program runs; longer where PINGS_PER_LIMIT pings within the limit
#: below need fewer. Each ping wakes two processes.
PING_S = 0.1
PINGS_PER_LIMIT = 5
#: While no program runs, the first turn of the loop after this share of the liveness interval
#: pings, usually a heartbeat's; the loop is woken for it alone no sooner than the slack later.
IDLE_PING_SHARE, IDLE_SLACK_SHARE = 1 / 4, 1 / 8
#: A guardian that has not echoed for this share of the lease is frozen; at most ECHO_MAX_S.
ECHO_SHARE = 0.4
ECHO_MAX_S = 1.5


def echo_max_s(timing: Timing) -> float:
    """Return the seconds for which an echo may be overdue."""
    return min(ECHO_MAX_S, ECHO_SHARE * timing.lease_s)


def ping_s(timing: Timing) -> float:
    """Return the seconds from one ping to the next while a program runs."""
    return max(PING_S, echo_max_s(timing) / PINGS_PER_LIMIT)

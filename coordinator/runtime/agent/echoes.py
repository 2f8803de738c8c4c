"""How often an agent asks whether its guardian is awake, and for how long it waits for an echo."""

from __future__ import annotations

from coordinator.protocol.rules.timing import Timing

#: While a program runs, the guardian is pinged this often, or PINGS_PER_LIMIT times within the
#: limit below where that is seldomer: each ping wakes two processes.
PING_S = 0.1
PINGS_PER_LIMIT = 5
#: While none does, the first turn of the loop after this share of the liveness interval pings it,
#: a heartbeat's as a rule; the loop is woken for it alone no sooner than that much later.
IDLE_PING_SHARE, IDLE_SLACK_SHARE = 1 / 4, 1 / 8
#: A guardian that has not echoed for this share of the lease is frozen; at most ECHO_MAX_S.
ECHO_SHARE = 0.4
ECHO_MAX_S = 1.5


def echo_max_s(timing: Timing) -> float:
    """Return for how long a guardian may owe an echo."""
    return min(ECHO_MAX_S, ECHO_SHARE * timing.lease_s)


def ping_s(timing: Timing) -> float:
    """Return the seconds from one ping to the next while a program runs."""
    return max(PING_S, echo_max_s(timing) / PINGS_PER_LIMIT)

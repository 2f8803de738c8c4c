"""Duration of a node's trust in an acknowledged heartbeat (docs/protocol.md, rules T2 to T5)."""

from __future__ import annotations

from coordinator.protocol.rules.timing import MISSED_MAX


def trust_end(sent_at: float, answered_at: float, lease_s: float) -> float:  # noqa: ARG001
    """Return the moment until which an acknowledged heartbeat may be trusted.

    Trust runs from the sending, not the answer: a slow commit must not lengthen it. A watcher may
    see the heartbeat as soon as it is written, which is any time after the sending.

    Units: seconds of the node's own clock.
    """
    return sent_at + lease_s


def expired(trusted_until: float, now: float) -> bool:
    """Say whether a session is over for its own node; a later answer does not revive it."""
    return now >= trusted_until


def fresh(trusted_until: float, now: float, lease_s: float, heartbeat_s: float) -> bool:
    """Say whether fewer than two renewals were missed: only then may something new start.

    The last acknowledged heartbeat was sent a lease before trust ends. From MISSED_MAX heartbeats
    after that, a program may be told to end (T1); a program started later would be told at once.
    """
    missed_at = trusted_until - lease_s + MISSED_MAX * heartbeat_s
    return now < missed_at and not expired(trusted_until, now)


def fresh_since(
    trusted_until: float, extended_at: float, now: float, *, lease_s: float, heartbeat_s: float
) -> bool:
    """Say the same where the lease may be shorter by now than the one that is known (rule I3).

    Whoever knows the lease of a configuration only takes trust for fresh, too, within a heartbeat
    after it was last extended.

    extended_at: when it was; -inf: not known.
    """
    given_s = min(lease_s, trusted_until - extended_at + heartbeat_s)
    return fresh(trusted_until, now, given_s, heartbeat_s)

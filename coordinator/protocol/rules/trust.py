"""How long a node may believe what it was told (docs/protocol.md, rules T2 to T5)."""

from __future__ import annotations


def trust_end(sent_at: float, answered_at: float, lease_s: float) -> float:  # noqa: ARG001
    """Return the moment until which an acknowledged heartbeat may be trusted.

    Trust runs from the question, not the answer: a slow commit must not lengthen it. A watcher
    may have seen the heartbeat as soon as it was written, which is any time after the sending.

    Units: seconds of the node's own clock.
    """
    return sent_at + lease_s


def expired(trusted_until: float, now: float) -> bool:
    """Say whether a session is over for its own node: dead is dead, no answer revives it."""
    return now >= trusted_until


def fresh(trusted_until: float, now: float, lease_s: float, heartbeat_s: float) -> bool:
    """Say whether fewer than two renewals were missed: only then may something new start."""
    return now < trusted_until - lease_s + 2 * heartbeat_s

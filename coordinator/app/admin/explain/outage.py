"""Explanation of what follows when the database itself cannot be asked."""

from __future__ import annotations

from coordinator.protocol.rules.timing import lease_of


def while_away(why: str, liveness_s: float) -> tuple[str, ...]:
    """Return what happens to groups while no database answers.

    liveness_s: of this configuration; other nodes may have another one.
    """
    return (
        f"Nobody can tell who is active: {why}.",
        "No node can renew its trust: by this configuration's intervals, each program is dead at"
        f" most {lease_of(liveness_s):.1f} s after the last heartbeat that was acknowledged.",
        "Once a writable primary answers again, every node joins again by itself, and one takes the"
        " token: at once where the same server was restarted in place, else"
        f" {liveness_s:g} s after a node has seen it first.",
    )


def wrong_schema(why: str) -> tuple[str, ...]:
    """Return what happens to groups when the schema is not the one of this version."""
    return (
        f"Nobody of this version can run: {why}.",
        "Nodes that run already go on; a node of this version that starts exits with 78 until the"
        " schema is right. `coord db upgrade` makes it so, and takes no token from anybody.",
    )

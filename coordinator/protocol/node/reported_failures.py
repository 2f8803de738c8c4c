"""Reports of a node's failures: the log gets every reason, but is not flooded."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.node.events import Command, LogLine
from coordinator.protocol.node.state.node import Node

#: A lasting failure is reported again after this many seconds, and each reason once in that time,
#: up to TOLD_WHY_MAX reasons.
TELL_AGAIN_S = 60.0
TOLD_WHY_MAX = 8


def report_failure(node: Node, now: float, why: str) -> tuple[Node, tuple[Command, ...]]:
    """Report a failure: the first one, each new reason, and all again after TELL_AGAIN_S.

    The reasons of several database hosts alternate, so those reported lately are remembered.
    """
    again = node.failures == 1 or now - node.reported_why_at >= TELL_AGAIN_S
    known = frozenset[str]() if again else node.reported_why
    if why in known or len(known) >= TOLD_WHY_MAX:
        return node, ()
    node = replace(
        node, reported_why=known | {why}, reported_why_at=now if again else node.reported_why_at
    )
    return node, (LogLine("database-lost", (("why", why),)),)

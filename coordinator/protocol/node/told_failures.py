"""Which of a node's failures are told: a log names every reason, and is not filled by them."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.node.events import Command, LogLine
from coordinator.protocol.node.state.node import Node

#: A failure that lasts is told again after so long, and each reason once in that time; more of them
#: would only fill the log.
TELL_AGAIN_S = 60.0
TOLD_WHY_MAX = 8


def tell_why(node: Node, now: float, why: str) -> tuple[Node, tuple[Command, ...]]:
    """Report a failure: the first one, each new reason, and all again after TELL_AGAIN_S.

    Where the database has several hosts their reasons take turns, so those told lately are kept.
    """
    again = node.failures == 1 or now - node.told_why_at >= TELL_AGAIN_S
    known = frozenset[str]() if again else node.told_why
    if why in known or len(known) >= TOLD_WHY_MAX:
        return node, ()
    node = replace(node, told_why=known | {why}, told_why_at=now if again else node.told_why_at)
    return node, (LogLine("database-lost", (("why", why),)),)

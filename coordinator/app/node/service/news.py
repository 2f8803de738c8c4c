"""News of a node for its service manager: plain decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from coordinator.protocol.node.state.node import Node

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Knowledge of the manager.

    ready:         the node has a session in the database, as standby or holder.
    stopping:      the node leaves.
    trusted_until: end of the trust of the last heartbeat of which it was told.
    """

    ready: bool = False
    stopping: bool = False
    trusted_until: float = -math.inf


def news(told: Told, node: Node) -> tuple[Told, tuple[str, ...]]:
    """Return what is new for the manager.

    The watchdog is told of a heartbeat that the database has acknowledged, and of nothing else: the
    end of trust moves only then (T2). A node whose loop turns, and that reaches no database, does
    not count as alive.
    """
    words: list[str] = []
    if node.session is not None and not told.ready:
        told = replace(told, ready=True)
        words.append(READY)
    if node.session is not None and node.trusted_until > told.trusted_until:
        told = replace(told, trusted_until=node.trusted_until)
        words.append(ALIVE)
    if node.leaving is not None and not told.stopping:
        told = replace(told, stopping=True)
        words.append(STOPPING)
    return told, tuple(words)


def status(sentence: str) -> str:
    """Return the message that shows a sentence in `systemctl status`."""
    return f"STATUS={' '.join(sentence.split())}"


def reloading(monotonic_s: float) -> str:
    """Return the message that a reload begins; systemd wants the moment, on CLOCK_MONOTONIC."""
    return f"RELOADING=1\nMONOTONIC_USEC={round(monotonic_s * 1e6)}"

"""Backoff of failed requests, for each kind of request separately (O7).

One statement may always fail on a database that answers all others. The first request after a
reconnect then succeeds each time, and must not reset the backoff of the failed kind.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.requests import Request
from coordinator.protocol.node.next_beat import jittered
from coordinator.protocol.node.state.node import Held, Node

#: Seconds to the second attempt after a failure; doubled each time, up to a heartbeat.
RETRY_FIRST_S = 0.02


def pause_s(node: Node, failures: int) -> float:
    """Return the seconds from the last of this many failures in a row to the next attempt."""
    wait_s = min(node.timing.heartbeat_s, RETRY_FIRST_S * 2 ** min(failures - 1, 10))
    return jittered(node, wait_s)


def hold(node: Node, request: Request, now: float) -> Node:
    """Note that a request failed."""
    kind = type(request)
    before = next((held.failures for held in node.held if held.kind is kind), 0)
    more = Held(kind, before + 1, now + pause_s(node, before + 1))
    return replace(node, held=(*_others(node, kind), more))


def let_go(node: Node, request: Request) -> Node:
    """Note that a request was answered."""
    return replace(node, held=_others(node, type(request))) if node.held else node


def is_held(node: Node, request: Request, now: float) -> bool:
    """Say whether this kind of request failed too recently to be sent again."""
    return any(held.kind is type(request) and now < held.until for held in node.held)


def _others(node: Node, kind: type[Request]) -> tuple[Held, ...]:
    return tuple(held for held in node.held if held.kind is not kind)

"""Ranking of the standbys: a thousand must not all try at once (docs/protocol.md, rule R4)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from coordinator.protocol.messages.requests import Candidate

#: Head start of each of the first places over the next, in seconds: a take on a near database
#: ends within a few ms, so the second place usually sees that the first has won.
HEAD_START_S = 0.010
#: After this many places head starts shrink to TAIL_START_S: dead front places must not cost long.
FRONT_PLACES = 6
TAIL_START_S = 0.001


def weight(key: str, node: str) -> int:
    """Return the rendezvous weight of a node for a key: the same on every node."""
    text = f"{key}\x00{node}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def rank(group: str, node: str, holder: str | None, roster: Sequence[Candidate]) -> int:
    """Return this node's place among those that may take the token, 0 for the first.

    A node whose program waits at its gate comes before one whose program does not (rule Y8). Then
    higher priority comes first, then higher rendezvous weight. Priority 0 never takes. The holder
    is left out of its own succession.
    """
    own = next((c for c in roster if c.node == node), Candidate(node=node, priority=1))
    rivals = (c for c in roster if c.priority > 0 and c.node not in (holder, node))
    return sum(_order(group, rival) < _order(group, own) for rival in rivals)


def _order(group: str, candidate: Candidate) -> tuple[bool, int, int]:
    return not candidate.ready, -candidate.priority, -weight(group, candidate.node)


def ready_rival(node: str, holder: str | None, roster: Sequence[Candidate]) -> bool:
    """Say whether another standby is ready, which may take the token."""
    return any(c.ready and c.priority > 0 and c.node not in (holder, node) for c in roster)


def head_start(place: int) -> float:
    """Return how long the node at `place` waits for earlier places to try, in seconds."""
    front = min(place, FRONT_PLACES)
    return front * HEAD_START_S + (place - front) * TAIL_START_S


def spread(seed: str, count: int) -> float:
    """Return a pseudo-random number in [0, 1) that repeats for the same input."""
    text = f"{seed}/{count}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") / 2**32

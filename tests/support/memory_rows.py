"""The rows of MemoryDatabase: frozen, so that snapshots share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from coordinator.protocol.requests import NodeFacts, TokenSeen


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One row of health_check; `facts` is None before the first join."""

    facts: NodeFacts | None
    session: str | None
    beat: int
    beat_at: float
    ended: bool
    end_reason: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One row of token_history."""

    term: int
    node: str
    session: str
    how: str
    reason: str
    from_node: str | None
    ended: bool = False
    end_how: str = ""
    end_reason: str = ""


NEVER_JOINED = NodeRow(None, None, 0, 0.0, False, "", "")
NEVER_HELD = TokenSeen(term=0, node=None, session=None, term_floor=0)


class Snapshot(NamedTuple):
    """Everything that a commit makes durable."""

    nodes: dict[tuple[str, str], NodeRow]
    tokens: dict[str, TokenSeen]
    versions: dict[str, int]
    epochs: dict[tuple[int, int], bool]
    history: dict[tuple[str, int], HistoryRow]

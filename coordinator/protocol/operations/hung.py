"""Watching the claims of others for workers that hang (rule Q9).

A claim that lives tells of itself twice: its worker reports all the time, and its figures move. An
idle worker watches both by its own clock (O1, O3). What showed nothing new for long is given back,
if it still shows what was seen, and another node comes first for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.protocol.operations.claims import Look, OpenSubtask
from coordinator.protocol.operations.owners import GAP_SHARE
from coordinator.protocol.operations.types import SubtaskState
from coordinator.protocol.rules.watch import Sight, Watch, watched

#: A worker that runs anything reports twice a second; one that stands still does not.
REPORTS_S = 30.0


@dataclass(frozen=True, slots=True)
class Claims:
    """The watches of the claims that a worker sees, by subtask: of the reports, of the figures."""

    reports: Mapping[str, Watch] = field(default_factory=dict)
    moves: Mapping[str, Watch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hung:
    """A claim that hangs, and what was seen of it; None: that is not what it hangs by."""

    subtask: OpenSubtask
    reports: int | None = None
    moves: int | None = None


def observed(claims: Claims, look: Look, limits: Mapping[str, float], now: float) -> Claims:
    """Return the watches after a look that was answered at `now`.

    limits: for each type that has one, the seconds within which its figures move.
    """
    reports, moves = {}, {}
    for seen in look.open:
        if seen.state is not SubtaskState.RUNNING:
            continue
        sight = Sight(look.identity, seen.version, seen.session, seen.reports)
        before = claims.reports.get(seen.id)
        reports[seen.id] = watched(before, sight, now, REPORTS_S * GAP_SHARE)
        limit_s = limits.get(seen.type)
        if limit_s is not None:
            sight = Sight(look.identity, seen.version, seen.session, seen.moves)
            before = claims.moves.get(seen.id)
            moves[seen.id] = watched(before, sight, now, limit_s * GAP_SHARE)
    return Claims(reports, moves)


def hung(
    claims: Claims, look: Look, limits: Mapping[str, float], me: str, now: float
) -> tuple[Hung, ...]:
    """Return the claims of other nodes that are to be given back, after `observed`."""
    found = []
    for seen in look.open:
        if seen.owner == me or seen.id not in claims.reports:
            continue
        if now >= claims.reports[seen.id].since + REPORTS_S:
            found.append(Hung(subtask=seen, reports=seen.reports))
        elif seen.id in claims.moves and now >= claims.moves[seen.id].since + limits[seen.type]:
            found.append(Hung(subtask=seen, moves=seen.moves))
    return tuple(found)

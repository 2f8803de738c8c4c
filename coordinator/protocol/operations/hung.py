"""Watching the claims of others, and the own worker, for workers that hang (rules Q9, J1, J2).

A claim that lives tells of itself twice: its worker reports all the time, and its figures move. An
idle worker watches both by its own clock (O1, O3). What showed nothing new for long is given back,
if it still shows what was seen, and another node comes first for it.

The node watches its own worker, too, by signs of life that need no database: so a worker that hangs
is replaced even where no other node is idle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coordinator.protocol.operations.claims import Look, OpenSubtask
from coordinator.protocol.operations.owners import GAP_SHARE
from coordinator.protocol.operations.types import SubtaskState
from coordinator.protocol.rules.watch import Sight, Watch, watched

#: A worker that runs anything reports twice a second; one that stands still does not.
REPORTS_S = 30.0
#: A node kills its own worker after so long without a sign of life; later than others take its
#: claim, because they remember on which node it hung.
SIGNS_S = 45.0
#: Seconds for which an overdue sign is waited for once more: what was sent while the node itself
#: stood still is read first.
SECOND_LOOK_S = 0.5


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


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of life of a node's own worker.

    at:         own clock: the last one, or the order to start.
    overdue_at: own clock: the look that missed one for the first time.
    """

    at: float
    overdue_at: float | None = None

    @property
    def moment(self) -> float:
        """The next moment at which `missed` has something to decide."""
        return self.at + SIGNS_S if self.overdue_at is None else self.overdue_at + SECOND_LOOK_S


def missed(signs: Signs, now: float) -> tuple[Signs, bool]:
    """Return the signs after a look, and whether the worker hangs (J1)."""
    if now < signs.moment:
        return signs, False
    if signs.overdue_at is None:
        return replace(signs, overdue_at=now), False
    return signs, True


@dataclass(frozen=True, slots=True)
class Figures:
    """The progress that a run has told, and since when (own clock) it has been the same."""

    told: tuple[int | None, ...]
    since: float


def noted(before: Figures | None, told: tuple[int | None, ...], now: float) -> Figures:
    """Return the figures after a look at them."""
    return before if before is not None and before.told == told else Figures(told, now)


def lives(figures: Figures, limit_s: float | None, now: float) -> bool:
    """Say whether a run may give a sign of life: its figures moved within its type's limit (J2)."""
    return limit_s is None or now < figures.since + limit_s

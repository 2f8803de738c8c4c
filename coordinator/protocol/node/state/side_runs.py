"""State of the short runs beside the group's own program, and of the watch on the program itself.

A side run is a process that the node starts beside the program: a health check, a hook, or a
one-off command that somebody on this machine asked for. The guardian owns it like any other run,
with a number and a deadline of its own, so that it can hold nobody up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Purpose of a side run."""

    HEALTH = "health"  #: is the program healthy?
    BEFORE_START = "beforeStart"
    AFTER_STOP = "afterStop"
    ON_CHANGE = "onChange"
    ONE_OFF = "one_off"  #: a command of `coord when-active`


#: Side runs that work under the token: they are dead when its trust ends, as the program is.
UNDER_TOKEN = frozenset({Kind.HEALTH, Kind.BEFORE_START, Kind.ONE_OFF})
#: Side runs for which the next start of the program, and a release, wait.
WAITED_FOR = UNDER_TOKEN | {Kind.AFTER_STOP}


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRun:
    """One side run that was ordered and has not ended.

    about: number of the program's run that it belongs to.
    until: own clock: it is killed then at the latest.
    over:  it was told to end, and its outcome means nothing.
    ask:   number of the request for a one-off.
    stopping: the reason for which a one-off was told to end; empty while it may go on.
    """

    kind: Kind
    number: int
    term: int
    about: int
    started_at: float
    until: float
    over: bool = False
    ask: int = 0
    stopping: str = ""

    @property
    def under_token(self) -> bool:
        """True when it must be dead before another node may act."""
        return self.kind in UNDER_TOKEN


def awaited(sides: tuple[SideRun, ...], but_one_offs_of: int = 0) -> bool:
    """Say whether a release, or the program's start, has to wait for a side run.

    but_one_offs_of: a start under this term waits for no one-off of the same term (M13).
    """
    return any(
        side.kind in WAITED_FOR and not (side.kind is Kind.ONE_OFF and side.term == but_one_offs_of)
        for side in sides
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """Configured health check of the group's own program; seconds.

    delay_s: from the start of the program to the first check.
    """

    interval_s: float
    timeout_s: float
    failures_max: int
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HungPolicy:
    """Configured signs by which the group's own program counts as hung.

    progress_s: longest time without a report of progress; 0.0: it reports none.
    """

    progress_s: float = 0.0
    health: HealthPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPolicy:
    """Seconds that each hook of the node may take; None: there is no such hook."""

    before_start_s: float | None = None
    after_stop_s: float | None = None
    on_change_s: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The state of a group as the hook onChange is told of it."""

    role: str
    holder: str
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramWatch:
    """Signs of life of one run of the group's own program; moments of the own clock.

    run:           number of that run.
    progressed_at: its start, or its last report of progress.
    overdue_at:    the step that first found a report overdue; None: none has.
    check_at:      start of the next health check.
    failures:      health checks in a row that failed.
    why:           how the last of them failed.
    """

    run: int
    progressed_at: float
    overdue_at: float | None = None
    check_at: float = float("inf")
    failures: int = 0
    why: str = ""

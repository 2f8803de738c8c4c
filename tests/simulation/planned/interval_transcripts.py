"""Transcripts of rules I: what a holder does with its lease and its row when an interval is set."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.planned import (
    Planned,
    PlannedChange,
    PlannedKind,
    TellInterval,
)
from coordinator.protocol.messages.requests import Beat, View
from coordinator.protocol.node.events import Command, ExtendTrust, LogLine
from coordinator.protocol.rules.timing import lease_of
from tests.simulation.plans.script import Script, identity


def setting(number: int, value_s: float, *, agreed: bool = False) -> PlannedChange:
    return PlannedChange(
        id=number, kind=PlannedKind.LIVENESS, value=round(1000 * value_s), agreed=agreed
    )


class Told:
    """A holder with an interval of 6 s, which answers of the database tell of settings."""

    def __init__(self) -> None:
        self.script = Script()
        self.script.hold(0.0)
        self.reads = 0
        self.settings: tuple[PlannedChange, ...] = ()
        self.timeline = 1
        self.tells: list[float] = []  #: intervals that were told, the oldest first
        self.answers = True  #: nothing that is told gets lost

    def shown(self) -> View:
        self.reads += 1
        planned = Planned(read_us=self.reads, changes=self.settings)
        return replace(
            self.script.own(), planned=planned, identity=identity(timeline=self.timeline)
        )

    def beat(self, now: float) -> tuple[Command, ...]:
        """Let a heartbeat be sent and answered at one moment, and what is to be told with it."""
        self.script.fast_forward(beat_at=now)
        self.script.tick(now)
        self._tell(now)
        assert isinstance(self.script.pending, Beat)
        commands = self.script.answer(now, self.shown(), beat=5)
        self._tell(now)
        return commands

    def _tell(self, now: float) -> None:
        request = self.script.node.pending
        if isinstance(request, TellInterval):
            self.tells.append(request.liveness_s)
            if self.answers:
                self.script.answer(now, self.shown())

    def set(self, *settings: PlannedChange) -> None:
        self.settings = settings

    @property
    def trusted_for(self) -> float:
        """Interval from which the lease follows."""
        return self.script.node.timing.liveness_s


def until(commands: tuple[Command, ...]) -> float:
    (extended,) = (each for each in commands if isinstance(each, ExtendTrust))
    return extended.trusted_until


def log(commands: tuple[Command, ...]) -> list[str]:
    return [each.event for each in commands if isinstance(each, LogLine)]


def shorter() -> None:
    """I3: the lease first, and the row when all trust by the longer interval is over."""
    told = Told()
    told.beat(1.0)
    told.set(setting(7, 4.0))

    told.beat(2.0)
    assert told.trusted_for == 4.0
    told.beat(3.0)
    told.beat(5.6)
    assert told.tells == [], "trust until 1.0 + 4.73 s was given before"
    told.beat(5.8)

    assert told.tells == [4.0]


def longer() -> None:
    """I4: the row at once; the lease when it is agreed on, and the own row shows it."""
    told = Told()
    told.beat(1.0)
    told.set(setting(7, 10.0))

    assert abs(until(told.beat(2.0)) - (2.0 + lease_of(6.0))) < 1e-6
    assert told.tells == [10.0]
    assert abs(until(told.beat(3.0)) - (3.0 + lease_of(6.0))) < 1e-6, "not agreed on yet"
    told.set(setting(7, 10.0, agreed=True))

    assert abs(until(told.beat(4.0)) - (4.0 + lease_of(10.0))) < 1e-6


def unanswered() -> None:
    """I4: what was told without an answer does not lengthen a lease."""
    told = Told()
    told.answers = False
    told.set(setting(7, 10.0))
    told.beat(1.0)
    assert told.tells == [10.0]
    told.set(setting(7, 10.0, agreed=True))
    told.script.fail(1.5)
    told.script.fast_forward(retry_at=float("-inf"))

    told.beat(2.5)

    assert told.trusted_for == 6.0
    assert told.tells == [10.0, 10.0], "it is told again"


def promoted() -> None:
    """I5: on another identity the row may be as it was before, until it was told again."""
    told = Told()
    told.set(setting(7, 10.0))
    told.beat(1.0)
    told.set(setting(7, 10.0, agreed=True))
    told.beat(2.0)
    assert told.trusted_for == 10.0
    told.timeline = 2

    told.beat(3.0)
    assert told.trusted_for == 6.0
    assert told.tells == [10.0, 10.0], "a longer one need not wait"
    told.beat(4.0)

    assert told.trusted_for == 10.0


#: Variants of rules I that one of these catches.
OF_PLANTED = {
    "short-at-once": shorter,
    "long-at-once": longer,
    "long-once-agreed": unanswered,
    "long-once-told": longer,
    "told-and-lost": promoted,
}

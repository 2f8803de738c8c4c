"""A schedule in virtual time: its holders, their clocks, the database's clock, and what goes wrong.

The real Schedule runs here, one thread and no real wait. Nodes die and hand over, the wall clock
of a node is stepped, answers are lost, the database is away; the judge reads what was fired.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from coordinator.errors import DatabaseUnreachableError
from coordinator.ports import Answered
from coordinator.protocol.messages.schedule import Policy, Trigger
from coordinator.protocol.messages.schedule_claims import SLOT_AHEAD_MAX_S, Outcome
from coordinator.runtime.schedule.first_slot import ScheduleSeen
from coordinator.runtime.schedule.jobs import RunContext
from coordinator.runtime.schedule.runner import Schedule
from coordinator.runtime.schedule.stop_signal import StopSignal
from tests.support.fakes.schedules import MemoryLedger, MovableTrust

BEGAN = datetime(2026, 5, 4, 12, tzinfo=UTC)
HORIZON_S = 600.0
INTERVAL_S = 2.0
LEASE_S = 20.0
#: A slot is claimed so long after it was due at the latest, when nothing was wrong just before.
LATE_MAX_S = 5.0
#: After a death, or an outage, what was missed is made up for within that time.
CALM_S = 20.0
RUN_S = 0.3


class DiedError(BaseException):
    """The node that ran the schedule is gone, in the middle of whatever it did."""


@dataclass
class World:
    """True time, and what is wrong now; time passes only where something waits."""

    faults: list[tuple[float, str, float]]  #: moment, kind, size; the next one last
    now_s: float = 0.0
    wall_s: float = 0.0  #: by so much the holder's wall clock is wrong
    away_until_s: float = -1.0
    troubled_at_s: float = -1e9
    answers_lost: int = 0  #: of the next claims
    trust: MovableTrust = field(default_factory=MovableTrust)

    def server(self) -> datetime:
        return BEGAN + timedelta(seconds=self.now_s)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; a fault that is due strikes, a holder may die of it."""
        until_s = self.now_s + seconds
        while self.faults and self.faults[-1][0] <= until_s:
            at_s, kind, size = self.faults.pop()
            self.now_s = max(self.now_s, at_s)
            self._strike(kind, size)
        self.now_s = max(self.now_s, until_s)
        away_s = self.now_s - self.troubled_at_s
        if self.away and away_s > LEASE_S:
            self.trust.lost = True
        if self.now_s >= HORIZON_S:
            raise DiedError

    def _strike(self, kind: str, size: float) -> None:
        match kind:
            case "step":
                self.wall_s += size
            case "death":
                self.troubled_at_s = self.now_s
                raise DiedError
            case "outage":
                self.troubled_at_s, self.away_until_s = self.now_s, self.now_s + size
            case "lost answer":
                self.answers_lost += 1

    @property
    def away(self) -> bool:
        return self.now_s < self.away_until_s


class VirtualEvent(threading.Event):
    """A stop that never comes; to wait for it is what makes time pass."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def wait(self, timeout: float | None = None) -> bool:
        self._world.pass_time(timeout or 0.0)
        return False


class BootClock:
    """A holder's clock that never steps, with a rate of its own."""

    def __init__(self, world: World, rate: float) -> None:
        self._world, self._rate = world, rate

    def now(self) -> float:
        return 5000.0 + self._world.now_s * self._rate


class WallClock(BootClock):
    """Clock that a schedule must not go by: this one is stepped."""

    def now(self) -> float:
        return super().now() + self._world.wall_s


@dataclass
class SimulatedLedger(MemoryLedger):
    """The record, in a database that is away now and then."""

    world: World = field(default_factory=lambda: World([]))
    claims: list[tuple[datetime, datetime, float]] = field(default_factory=list)

    def _reach(self) -> None:
        if self.world.away:
            raise DatabaseUnreachableError("nobody answers")

    def open(self) -> ScheduleSeen:
        self._reach()
        return super().open()

    def claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Answered:
        self._reach()
        self.lost_answers, self.world.answers_lost = self.world.answers_lost, 0
        count = len(self.fired)
        try:
            return super().claim(slot, next_at, skipped)
        finally:
            if len(self.fired) > count:
                calm_s = self.world.now_s - max(self.world.troubled_at_s, self.world.away_until_s)
                self.claims.append((slot, self.server(), calm_s))

    def finish(
        self,
        slot: datetime,
        outcome: Outcome,
        duration_s: float,
        error: str | None,
        terminate: str | None,
    ) -> bool:
        self._reach()
        return super().finish(slot, outcome, max(0.0, duration_s), error, terminate)

    def alert(self, kind: str, reason: str) -> bool:
        self._reach()
        return super().alert(kind, reason)


@dataclass(frozen=True, slots=True)
class Variant:
    """The real thing, or one that is broken on purpose."""

    schedule: type[Schedule] = Schedule
    clock: type[BootClock] = BootClock
    server_checks: bool = True


def faults_of(seed: int) -> list[tuple[float, str, float]]:
    draw = random.Random(seed)
    sizes: dict[str, Callable[[], float]] = {
        "step": lambda: draw.choice((-3600.0, -300.0, 300.0, 600.0, 3600.0)),
        "death": lambda: 0.0,
        "outage": lambda: draw.choice((0.5, 3.0, 15.0, 40.0)),
        "lost answer": lambda: 0.0,
    }
    made = []
    at_s = 10.0
    while (at_s := at_s + draw.uniform(5.0, 60.0)) < HORIZON_S - 60.0:
        kind = draw.choice(list(sizes))
        made.append((at_s, kind, sizes[kind]()))
    return made[::-1]


def story(seed: int, variant: Variant, **trigger: object) -> SimulatedLedger:
    """Let holders follow each other until the horizon; returns the record."""
    world = World(faults_of(seed))
    draw = random.Random(seed * 7 + 1)
    ledger = SimulatedLedger(world=world, checks_clock=variant.server_checks)
    ledger.server = world.server
    times = Trigger(**{"interval_s": INTERVAL_S, **trigger})  # type: ignore[arg-type]
    while world.now_s < HORIZON_S:
        _hold(world, ledger, times, variant, rate=draw.choice((0.999, 1.0, 1.001)))
        ledger.term += 1
        ledger.me += 1
        world.trust.lost = False
        world.now_s = max(world.now_s + 3.0, world.away_until_s)  # until the token is taken
        world.wall_s = 0.0
    return ledger


def _hold(
    world: World, ledger: SimulatedLedger, times: Trigger, variant: Variant, rate: float
) -> None:
    stop = StopSignal()
    stop.event = VirtualEvent(world)
    context = RunContext(
        group="g", node="n", term=1, session="s", token=world.trust, stop_event=stop.event
    )

    def job(context: RunContext) -> None:
        world.pass_time(RUN_S)

    schedule = variant.schedule(
        trigger=times,
        policy=Policy(error="LOG_AND_CONTINUE"),
        job=job,
        context=context,
        ledger=ledger,
        stop=stop,
        clock=variant.clock(world, rate),
        lease_s=LEASE_S,
        heartbeat_s=1.0,
        stop_timeout_s=1.0,
    )
    with contextlib.suppress(DiedError):
        schedule.run()


def broken(ledger: SimulatedLedger, *, complete: bool) -> list[str]:
    """Return what does not hold of rules C1 to C3; complete: every slot must have been fired."""
    found = []
    slots = [slot for slot, _, _ in ledger.claims]
    if len(set(slots)) < len(slots):
        found.append("a slot was fired twice")
    for slot, server, calm_s in ledger.claims:
        ahead_s = (slot - server).total_seconds()
        if ahead_s > SLOT_AHEAD_MAX_S:
            found.append(f"{slot} was fired {ahead_s:.1f} s before the database's clock")
        if calm_s > CALM_S and -ahead_s > LATE_MAX_S:
            found.append(f"{slot} was fired {-ahead_s:.1f} s late, and nothing was wrong")
    due = round((slots[-1] - slots[0]).total_seconds() / INTERVAL_S) + 1
    if complete and len(slots) != due:
        found.append(f"{due - len(slots)} slots vanished")
    if due != len(slots) + ledger.skips:
        found.append(f"{due} were due, {len(slots)} fired and {ledger.skips} told as skipped")
    last_s = (slots[-1] - BEGAN).total_seconds()
    if last_s < HORIZON_S - 90.0:
        found.append(f"nothing was fired after {last_s:.0f} s")
    return found

"""A ledger in memory, a trust that a test moves, and a schedule on a thread of its own."""

from __future__ import annotations

import math
import queue
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from coordinator.errors import DatabaseUnreachableError, TokenLostError
from coordinator.protocol.schedule import (
    AlreadyEnded,
    AlreadyFired,
    Claim,
    Claimed,
    CountExhausted,
    NotHolder,
    Outcome,
    Policy,
)
from coordinator.runtime.clock import BoottimeClock
from coordinator.runtime.jobs import Job, RunContext
from coordinator.runtime.schedule import Ending, Schedule
from coordinator.runtime.stopping import StopSignal
from coordinator.runtime.timetable import ScheduleSeen, Timetable

#: Everything here happens within milliseconds; a test that hangs is cut off here.
WAIT_S = 20.0


@dataclass
class MemoryLedger:
    """Keeps what app/schedule_ledger.py keeps, for one group; `term` is the current one."""

    me: int = 1
    max_count: int | None = None
    term: int = 1
    fired: list[datetime] = field(default_factory=list)
    finished: list[tuple[str, str | None]] = field(default_factory=list)
    skips: int = 0
    ended: str | None = None
    away: int = 0  #: so many of the next claims find no database
    ahead: timedelta = timedelta()  #: of the database's clock before ours

    def open(self) -> ScheduleSeen:
        return ScheduleSeen(
            fired_count=len(self.fired),
            last_fire_at=self.fired[-1] if self.fired else None,
            ended=self.ended is not None,
            now=datetime.now(UTC) + self.ahead,
        )

    def reopen(self) -> bool:
        self.ended = None
        return self.me == self.term

    def claim(self, slot: datetime, next_at: datetime | None) -> Claim:  # noqa: ARG002
        if self.away:
            self.away -= 1
            raise DatabaseUnreachableError("nobody answers")
        if self.me != self.term:
            return NotHolder(f"the token is in term {self.term}")
        if self.ended is not None:
            return AlreadyEnded(self.ended)
        if self.fired and self.fired[-1] >= slot:
            return AlreadyFired(self.term, len(self.fired), self.fired[-1] == slot)
        if self.max_count is not None and len(self.fired) >= self.max_count:
            return CountExhausted(len(self.fired))
        self.fired.append(slot)
        return Claimed(len(self.fired))

    def finish(
        self,
        slot: datetime,
        outcome: Outcome,
        duration_s: float,
        error: str | None,
    ) -> bool:
        assert slot == self.fired[-1], "only the last run can end"
        assert duration_s >= 0
        if self.me == self.term:
            self.finished.append((outcome, error))
        return self.me == self.term

    def skipped(self, count: int) -> bool:
        self.skips += count
        return self.me == self.term

    def end(self, reason: str) -> bool:
        if self.me == self.term:
            self.ended = reason
        return self.me == self.term


class MovableTrust:
    """Trust that lasts until a test says otherwise."""

    def __init__(self) -> None:
        self.lost = False
        self.stale = False
        self.asked_while_stale = threading.Event()

    def check(self) -> None:
        if self.lost:
            raise TokenLostError("the token is lost")

    def remaining_s(self) -> float:
        return -1.0 if self.lost else math.inf

    def fresh(self, lease_s: float, heartbeat_s: float) -> bool:  # noqa: ARG002
        if self.stale:
            self.asked_while_stale.set()
        return not self.stale and not self.lost


class Runner:
    """One schedule; `go` runs it here, `start` on a thread that `ending` waits for."""

    def __init__(
        self,
        job: Job,
        *,
        policy: Policy | None = None,
        ledger: MemoryLedger | None = None,
        **timetable: Any,
    ) -> None:
        self.trust, self.stop = MovableTrust(), StopSignal()
        times = Timetable(**{"timezone": UTC, **timetable})
        self.ledger = ledger or MemoryLedger(max_count=times.max_count)
        context = RunContext(
            group="g",
            node="n",
            term=1,
            session="s",
            token=self.trust,
            stop_event=self.stop.event,
        )
        self.schedule = Schedule(
            timetable=times,
            policy=policy or Policy(),
            job=job,
            context=context,
            ledger=self.ledger,
            stop=self.stop,
            clock=BoottimeClock(),
            lease_s=5.0,
            heartbeat_s=0.01,
        )
        self._endings: queue.SimpleQueue[Ending | BaseException] = queue.SimpleQueue()

    def go(self) -> Ending:
        """Run on a thread, so that a schedule that never ends fails the test."""
        self.start()
        return self.ending()

    def start(self) -> None:
        threading.Thread(target=self._run, name="schedule", daemon=True).start()

    def ending(self) -> Ending:
        ending = self._endings.get(timeout=WAIT_S)
        if isinstance(ending, BaseException):
            raise ending
        return ending

    def _run(self) -> None:
        try:
            self._endings.put(self.schedule.run())
        except BaseException as error:  # noqa: BLE001 - told to the test by `ending`
            self._endings.put(error)

"""A ledger in memory, a trust that a test moves, and a schedule on a thread of its own."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from coordinator.errors import DatabaseUnreachableError, TokenLostError
from coordinator.ports import Answered, Clock
from coordinator.protocol.messages.schedule import Policy, Trigger
from coordinator.protocol.messages.schedule_claims import (
    RECORD_AHEAD_MAX_S,
    SLOT_AHEAD_MAX_S,
    AlreadyEnded,
    AlreadyFired,
    Claim,
    Claimed,
    CountExhausted,
    NotHolder,
    Outcome,
    TooEarly,
)
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.first_slot import ScheduleSeen
from coordinator.runtime.schedule.jobs import Job, RunContext
from coordinator.runtime.schedule.run import Ending
from coordinator.runtime.schedule.runner import Schedule
from coordinator.runtime.schedule.stop_signal import StopSignal

#: Everything here happens within milliseconds; a test that hangs is cut off here.
WAIT_S = 20.0


def wall_clock() -> datetime:
    """The server's clock of a test that does not care for it."""
    return datetime.now(UTC)


@dataclass
class MemoryLedger:
    """Keeps what app/program/database_ledger.py keeps, for one group; `term` is the current one."""

    me: int = 1
    max_count: int | None = None
    term: int = 1
    fired: list[datetime] = field(default_factory=list)
    finished: list[tuple[str, str | None]] = field(default_factory=list)
    skips: int = 0
    ended: str | None = None
    terminated_at: datetime | None = None
    asked_at: datetime | None = None
    running: bool = False
    alerts: list[str] = field(default_factory=list)
    away: int = 0  #: so many of the next claims find no database
    lost_answers: int = 0  #: so many of the next claims are made, and their answers lost
    server: Callable[[], datetime] = wall_clock
    checks_clock: bool = True  #: false: as a server that takes any slot for due
    _unknown: datetime | None = None

    @property
    def fired_count(self) -> int:
        return len(self.fired)

    def open(self) -> ScheduleSeen:
        return ScheduleSeen(
            fired_count=self.fired_count,
            last_fire_at=self.fired[-1] if self.fired else None,
            ended=self.ended is not None,
            end_reason=self.ended or "",
            terminated_at=self.terminated_at,
            asked_at=self.asked_at,
            unfinished=self.running,
            term=self.term,
            now=self.server(),
        )

    def reopen(self, reason: str) -> bool:  # noqa: ARG002
        self.ended = self.terminated_at = None
        return self.me == self.term

    def settle(self) -> str | None:
        died, self.running = self.running, False
        return f"run {self.fired_count} died" if died else None

    def claim(
        self,
        slot: datetime,
        next_at: datetime | None,  # noqa: ARG002
        skipped: int,
    ) -> Answered:
        if self.away:
            self.away -= 1
            raise DatabaseUnreachableError("nobody answers")
        asked_before, self._unknown = self._unknown == slot, None
        now, claim = self.server(), self._claim(slot, skipped)
        if self.lost_answers:
            self.lost_answers -= 1
            self._unknown = slot
            raise DatabaseUnreachableError("the answer was lost")
        match claim:
            case AlreadyFired(_, count, same=True) if asked_before:
                return Answered(Claimed(count), now)
            case NotHolder():
                return Answered(claim, None)
            case _:
                return Answered(claim, now)

    def _claim(self, slot: datetime, skipped: int) -> Claim:
        now, last = self.server(), self.fired[-1] if self.fired else None
        if self.me != self.term:
            return NotHolder(f"the token is in term {self.term}")
        if self.ended is not None:
            return AlreadyEnded(self.ended)
        ahead_s = (slot - now).total_seconds()
        if ahead_s > SLOT_AHEAD_MAX_S and self.checks_clock:
            return TooEarly(ahead_s)
        poisoned = last is not None and last != slot
        poisoned = poisoned and (last - now).total_seconds() > RECORD_AHEAD_MAX_S
        if last is not None and last >= slot and not poisoned:
            return AlreadyFired(self.term, self.fired_count, last == slot)
        if self.max_count is not None and self.fired_count >= self.max_count:
            return CountExhausted(self.fired_count)
        self.fired.append(slot)
        self.skips += skipped
        self.running = True
        return Claimed(self.fired_count)

    def unsure(self, slot: datetime) -> bool:
        return self._unknown == slot

    def finish(
        self,
        slot: datetime,
        outcome: Outcome,
        duration_s: float,
        error: str | None,
        terminate: str | None,
    ) -> bool:
        assert slot == self.fired[-1], "only the last run can end"
        assert duration_s >= 0
        if self.me == self.term:
            self.running = False
            self.finished.append((outcome, error))
            if terminate is not None:
                self.ended, self.terminated_at = terminate, self.server()
        return self.me == self.term

    def end(self, reason: str, skipped: int) -> bool:
        if self.me == self.term and self.ended is None:
            self.ended = reason
            self.skips += skipped
        return self.me == self.term

    def alert(self, kind: str, reason: str) -> bool:
        assert reason
        self.alerts.append(kind)
        return self.me == self.term


@dataclass
class MemoryAskedRuns:
    """Keeps what app/program/asked_runs.py keeps; somebody asks on any thread."""

    me: int = 1
    term: int = 1  #: the current one
    asked: list[datetime] = field(default_factory=list)
    fired: list[datetime] = field(default_factory=list)
    finished: list[tuple[str, str | None]] = field(default_factory=list)
    running: bool = False
    lost_answers: int = 0  #: so many of the next claims are made, and their answers lost
    rung: threading.Event = field(default_factory=threading.Event)
    _unsure: datetime | None = None

    def ask(self) -> datetime:
        slot = datetime.now(UTC)
        self.asked.append(slot)
        self.rung.set()
        return slot

    def settle(self) -> str | None:
        died, self.running = self.running, False
        return f"run {len(self.fired)} died" if died else None

    def due(self) -> datetime | None:
        if self._unsure is not None:
            return self._unsure
        if not self.asked or (self.fired and self.fired[-1] >= self.asked[-1]):
            return None
        return self.asked[-1]

    def wait(self, seconds: float) -> None:
        self.rung.wait(min(seconds, 0.02))  # a stop ends it, too
        self.rung.clear()

    def claim(self, slot: datetime) -> Claim:
        ours, self._unsure = self._unsure == slot, slot
        if self.me != self.term:
            return NotHolder(f"the token is in term {self.term}")
        if not ours and self.fired and self.fired[-1] >= slot:
            self._unsure = None
            return AlreadyFired(self.term, len(self.fired), True)
        if not ours:
            self.fired.append(slot)
            self.running = True
        if self.lost_answers:
            self.lost_answers -= 1
            raise DatabaseUnreachableError("the answer was lost")
        self._unsure = None
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
            self.running = False
            self.finished.append((outcome, error))
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
        clock: Clock | None = None,
        stop: StopSignal | None = None,
        asked: MemoryAskedRuns | None = None,
        **trigger: Any,
    ) -> None:
        self.trust, self.stop = MovableTrust(), stop or StopSignal()
        times = Trigger(**trigger)
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
            trigger=times,
            policy=policy or Policy(),
            job=job,
            context=context,
            ledger=self.ledger,
            stop=self.stop,
            clock=clock or BoottimeClock(),
            lease_s=5.0,
            heartbeat_s=0.01,
            stop_timeout_s=1.0,
            asked=asked,
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

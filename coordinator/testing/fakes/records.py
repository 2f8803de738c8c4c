"""Records of schedules in memory: what the table `schedule` is to coordinators, for fakes."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from coordinator.app.api.schedules.definition import Definition
from coordinator.errors import CoordError, TokenLostError
from coordinator.ports import Answered, Clock
from coordinator.protocol.messages.schedule_claims import (
    AlreadyEnded,
    AlreadyFired,
    Claim,
    Claimed,
    CountExhausted,
    NotHolder,
    Outcome,
)
from coordinator.runtime.holders.holding import Holding
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.first_slot import ScheduleSeen
from coordinator.runtime.schedule.jobs import RunStoppedError
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.testing.fakes.tokens import FakeRecord, FakeTokens


class FakeLedger:
    """Implementation of `Ledger` on a FakeRecord, under one holding; the clock is the machine's."""

    def __init__(
        self,
        tokens: FakeTokens,
        record: FakeRecord,
        holding: Holding,
        max_count: int | None,
        *,
        clock: Clock,
        started_at: float,
    ) -> None:
        self._tokens, self._record, self._holding = tokens, record, holding
        self._max_count, self._clock, self._started_at = max_count, clock, started_at

    def open(self) -> ScheduleSeen:
        """Read the record."""
        record, now = self._record, _now()
        return ScheduleSeen(
            fired_count=record.fired_count,
            last_fire_at=record.last_fire_at,
            ended=record.ended,
            end_reason=record.end_reason,
            terminated_at=record.terminated_at,
            asked_at=now - timedelta(seconds=self._clock.now() - self._started_at),
            unfinished=record.outcomes[-1:] == ["running"],
            term=record.term,
            now=now,
        )

    def reopen(self, reason: str) -> bool:  # noqa: ARG002 - the fake has no table of events
        """Withdraw the end of the schedule."""

        def change() -> None:
            self._record.ended, self._record.end_reason = False, ""
            self._record.terminated_at = None

        return self._under_term(change)

    def settle(self) -> str | None:
        """Record a run without an end as one that died."""

        def change() -> None:
            self._record.outcomes[-1] = "died"

        count = self._record.fired_count
        return f"run {count} died" if self._under_term(change) else None

    def claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Answered:  # noqa: ARG002
        """Count `slot` as fired, if permitted."""
        answers: list[Claim] = []
        if not self._under_term(lambda: answers.append(self._claimed(slot, skipped))):
            return Answered(NotHolder("the token has another holder"), None)
        return Answered(answers[0], _now())

    def unsure(self, slot: datetime) -> bool:  # noqa: ARG002 - memory loses no answer
        """Say whether the answer to a claim was lost."""
        return False

    def finish(
        self,
        slot: datetime,  # noqa: ARG002 - only the last one runs
        outcome: Outcome,
        duration_s: float,  # noqa: ARG002
        error: str | None,
        terminate: str | None,
    ) -> bool:
        """Record how the run went."""

        def change() -> None:
            record = self._record
            record.outcomes[-1], record.last_error = outcome, error
            if terminate is not None:
                record.ended, record.end_reason = True, terminate
                record.terminated_at = _now()

        return self._under_term(change)

    def end(self, reason: str, skipped: int) -> bool:
        """Mark the schedule as ended for the whole group."""

        def change() -> None:
            if not self._record.ended:
                self._record.ended, self._record.end_reason = True, reason
                self._record.skipped_count += skipped

        return self._under_term(change)

    def alert(self, kind: str, reason: str) -> bool:  # noqa: ARG002
        """Take an alert, of which the fake keeps nothing."""
        return True

    def _claimed(self, slot: datetime, skipped: int) -> Claim:
        record = self._record
        if record.ended:
            return AlreadyEnded(record.end_reason)
        if record.last_fire_at is not None and record.last_fire_at >= slot:
            return AlreadyFired(record.term, record.fired_count, same=record.last_fire_at == slot)
        if self._max_count is not None and record.fired_count >= self._max_count:
            return CountExhausted(record.fired_count)
        record.fired_count += 1
        record.skipped_count += skipped
        record.last_fire_at, record.term = slot, self._holding.term
        record.outcomes.append("running")
        record.last_error = None
        return Claimed(record.fired_count)

    def _under_term(self, change: Callable[[], None]) -> bool:
        """Make a change if the token is this holding's, as the fence lets one be made."""
        try:
            with self._tokens.under(self._holding.group, self._holding.term):
                change()
        except TokenLostError:
            return False
        return True


class FakeJobTokens:
    """Tokens of a fake coordinator, for its schedules."""

    def __init__(self, tokens: FakeTokens, node: str) -> None:
        self._tokens, self._node = tokens, node

    @contextmanager
    def hold(self, token: str, stop: StopSignal) -> Iterator[Holding]:
        """Wait for a token, hold it for a block, and give it back."""
        answers: queue.SimpleQueue[Holding | CoordError] = queue.SimpleQueue()
        wish = self._tokens.ask(token, self._node, answers.put, answers.put, wait=True)
        holding: Holding | CoordError | None = None
        try:
            with stop.calling(lambda: answers.put(RunStoppedError("told to stop"))):
                holding = answers.get()
            if isinstance(holding, CoordError):
                raise holding
            yield holding
        finally:
            if not isinstance(holding, Holding) and not self._tokens.give_up(wish):
                with suppress(queue.Empty):
                    holding = answers.get_nowait()  # it was handed over at the last moment
            if isinstance(holding, Holding):
                self._tokens.give_back(holding)

    def ledger(self, holding: Holding, definition: Definition, started_at: float) -> FakeLedger:
        """Return the record of a schedule, written under a holding."""
        name = definition.name if definition.group_token else ""
        return FakeLedger(
            self._tokens,
            self._tokens.record(holding.group, name),
            holding,
            definition.trigger.max_count,
            clock=BoottimeClock(),
            started_at=started_at,
        )

    def close(self) -> None:
        """Close nothing: it is all in memory."""


def _now() -> datetime:
    return datetime.now(UTC)

"""Runs by hand, made by the process that serves a schedule, between the runs of that schedule.

A request is a slot of a record of its own (rules X). It is claimed like any slot, so it is started
at most once, and only under the token. It changes nothing of the schedule: neither its slots nor
its count nor its end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Protocol, Self

from coordinator.errors import CoordError, DatabaseUnreachableError, TokenLostError
from coordinator.protocol.messages.schedule_claims import (
    Claim,
    Claimed,
    NotHolder,
    Outcome,
    TooEarly,
)
from coordinator.runtime.schedule.jobs import RunContext, RunStoppedError
from coordinator.runtime.schedule.run import Made, RunMaker
from coordinator.runtime.schedule.run_log import RunLog, shown
from coordinator.runtime.schedule.waits import Waits


class AskedRuns(Protocol):
    """The record of a task's runs by hand.

    Errors of all but `wait`: DatabaseUnreachableError when the database does not answer now.
    """

    def settle(self) -> str | None:
        """Record a run without an end as one that died; return a text about it."""
        ...

    def due(self) -> datetime | None:
        """Return the slot of a request that waits for its claim, or whose claim got no answer."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a request may be there, or a stop is."""
        ...

    def claim(self, slot: datetime) -> Claim:
        """Count a request as started, if that is permitted."""
        ...

    def finish(
        self, slot: datetime, outcome: Outcome, duration_s: float, error: str | None
    ) -> bool:
        """Record how a run went; false when this node no longer holds the token."""
        ...


class AskedRunMaker:
    """Makes the runs that somebody asks for, one at a time."""

    def __init__(
        self, asked: AskedRuns, maker: RunMaker, context: RunContext, waits: Waits, log: RunLog
    ) -> None:
        self._asked, self._maker, self._context = asked, maker, context
        self._waits, self._log = waits, log

    @classmethod
    def of(
        cls,
        asked: AskedRuns | None,
        maker: RunMaker,
        context: RunContext,
        waits: Waits,
        log: RunLog,
    ) -> Self | None:
        """Return a maker; None where nobody can ask."""
        return None if asked is None else cls(asked, maker, context, waits, log)

    def settle(self) -> None:
        """Tell of a run that died with its process or its node; it is not made again."""
        died = self._waits.for_answer(self._asked.settle, "run-died", "a run by hand died")
        if died:
            self._log.warn("run-died", f"by hand: {died}")

    def due(self) -> datetime | None:
        """Return the slot of the request to be made now; None while the database is away."""
        try:
            return self._asked.due()
        except DatabaseUnreachableError:
            self._waits.trust.check()
            self._waits.pause(self._waits.heartbeat_s)
            return None

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a request may be there.

        Errors: RunStoppedError at a stop.
        """
        self._asked.wait(seconds)
        self._waits.pause(0.0)

    def make(self, slot: datetime, limit_s: float | None) -> Made | None:
        """Claim a request and make its run; None when it is not to be made, or not yet.

        limit_s: seconds until the schedule's next slot; no retry begins after it.
        Errors: TokenLostError, RunStoppedError.
        """
        self._waits.for_fresh_trust()
        try:
            claim = self._asked.claim(slot)
        except DatabaseUnreachableError as error:
            self._log.warn("run-delayed", f"a run by hand waits: it cannot be claimed: {error}")
            self._waits.trust.check()
            self._waits.pause(self._waits.heartbeat_s)
            return None
        match claim:
            case Claimed(count):
                return self._make(slot, count, limit_s)
            case NotHolder(reason):
                raise TokenLostError(reason)
            case TooEarly():
                self._waits.pause(self._waits.heartbeat_s)
                return None
            case _:
                return None  # it was started before, or its time is over

    def _make(self, slot: datetime, count: int, limit_s: float | None) -> Made:
        self._log.say("run-asked", f"run {count} by hand ({shown(slot)}) begins", count=count)
        context = replace(self._context, scheduled_at=slot, count=count)
        made = self._maker.make(context, limit_s)
        if not self._finish(slot, made):
            raise TokenLostError("the token had another holder before the run by hand ended")
        self._maker.say_failed(context, made)
        return made

    def _finish(self, slot: datetime, made: Made) -> bool:
        try:
            return self._waits.for_answer(
                lambda: self._asked.finish(slot, made.outcome, made.duration_s, made.error),
                "outcome-unwritten",
                "the outcome of a run by hand is not written yet",
            )
        except RunStoppedError:
            return True  # the next holder finds a run without an end, and reports it
        except TokenLostError:
            raise
        except CoordError as error:
            self._log.warn("outcome-unwritten", f"the outcome of a run by hand: {error}")
            return True

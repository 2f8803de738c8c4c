"""Waits of a schedule: for a moment, for fresh trust, for a database that is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from coordinator.errors import DatabaseUnreachableError
from coordinator.runtime.schedule.jobs import RunStoppedError
from coordinator.runtime.schedule.run_log import RunLog
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.runtime.schedule.trust_board import Trust

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Waits that end at a stop, with RunStoppedError, or with trust, with TokenLostError."""

    trust: Trust
    stop: StopSignal
    log: RunLog
    lease_s: float
    heartbeat_s: float

    def pause(self, seconds: float) -> None:
        """Wait for this many seconds; with 0, only check for a stop."""
        if self.stop.event.wait(seconds):
            raise RunStoppedError("told to stop")

    def for_fresh_trust(self) -> None:
        """Wait while renewals are missing, until trust is fresh again or over."""
        while not self.trust.fresh(self.lease_s, self.heartbeat_s):
            self.trust.check()
            self.pause(self.heartbeat_s / 4)

    def for_answer(self, verb: Callable[[], T], event: str, what: str) -> T:
        """Call the ledger, again and again while the database is away and the token is held."""
        told = False
        while True:
            try:
                return verb()
            except DatabaseUnreachableError as error:
                if not told:
                    self.log.warn(event, f"{what}, trying again: {error}")
                told = True
                self.trust.check()
                self.pause(self.heartbeat_s)

"""Runs a program when it is due, while the token is held, and as often as the group may.

    APScheduler's thread --slots--> inbox --one at a time--> the thread of Schedule.run

APScheduler only tells the time: it puts due slots into the inbox. One thread (the process's main
thread, as a program expects) takes them out, and asks three times before it runs anything:

1. trust: has the guardian extended it lately? A run is put off while two renewals are missing.
2. claim: one transaction that finds (term, session) current, and counts the slot as fired.
3. trust again: the claim may have taken long.

A slot is claimed before it is run, so it is run at most once, also when its node dies over it.

This does not end a run whose token is lost: a thread cannot be killed. The guardian kills the
process when trust is over.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from coordinator.errors import DatabaseUnreachableError, TokenLostError
from coordinator.ports import Clock
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
from coordinator.runtime import policies
from coordinator.runtime.clockwork import (
    Broken,
    Clockwork,
    Due,
    Message,
    NoMore,
    Skipped,
    Woken,
)
from coordinator.runtime.jobs import Job, RunContext, RunStoppedError
from coordinator.runtime.ledger import Ledger
from coordinator.runtime.run_log import RunLog, error_text, shown
from coordinator.runtime.stopping import StopSignal
from coordinator.runtime.timetable import ScheduleSeen, Slots, Timetable, opening, why_over
from coordinator.runtime.trust_board import Trust


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a schedule runs nothing any more on this node.

    stopped:    told so.
    exhausted:  its count, its time or its one moment is over, for the whole group.
    terminated: by its error policy, on this node.
    lost:       the token is not ours.
    """

    kind: Literal["stopped", "exhausted", "terminated", "lost"]
    reason: str


class Schedule:
    """One schedule under one term."""

    def __init__(
        self,
        *,
        timetable: Timetable,
        policy: Policy,
        job: Job,
        context: RunContext,
        ledger: Ledger,
        stop: StopSignal,
        clock: Clock,
        lease_s: float,
        heartbeat_s: float,
    ) -> None:
        self._timetable, self._policy, self._job = timetable, policy, job
        self._context, self._ledger, self._stop, self._clock = context, ledger, stop, clock
        self._trust: Trust = context.token
        self._lease_s, self._heartbeat_s = lease_s, heartbeat_s
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._after_error = policies.after_error(policy.error)
        self._log = RunLog(group=context.group, node=context.node, term=context.term)

    def run(self) -> Ending:
        """Run until stopped, exhausted, terminated or lost.

        Errors: DatabaseRefusedError, SchemaError and the like; whatever kills the scheduler.
        """
        try:
            with self._stop.calling(lambda: self._inbox.put(Woken())):
                return self._run()
        except TokenLostError as error:
            return Ending("lost", str(error))
        except RunStoppedError:
            return Ending("stopped", "told to stop")

    def _run(self) -> Ending:
        seen = self._open()
        # The group's slots are on the database's clock; ours may be set differently.
        ahead = seen.now - datetime.now(UTC)
        begin = opening(self._timetable, seen)
        if begin.first is None:
            return self._exhausted(begin.over)
        if seen.ended and not self._ledger.reopen():
            return Ending("lost", "the token has another holder")
        self._log.say("schedule-opened", f"next run at {shown(begin.first)}", at=shown(begin.first))
        waiting = policies.waiting(self._policy.waiting)
        if self._timetable.catch_up == "all":
            waiting = replace(waiting, coalesce=False)
        due = Clockwork(
            begin.slots,
            begin.first,
            ahead=ahead,
            waiting=waiting,
            post=self._inbox.put,
            log=self._log,
        )
        due.start()
        try:
            ending = self._serve(due, begin.slots, seen.now, ahead)
        finally:
            due.shutdown()
        if ending.kind == "exhausted":
            return self._exhausted(ending.reason)
        return ending

    def _open(self) -> ScheduleSeen:
        """Read the record; a database that is away is asked again while the token is ours."""
        while True:
            try:
                return self._ledger.open()
            except DatabaseUnreachableError as error:
                self._trust.check()
                self._log.warn(
                    "schedule-unread", f"the schedule cannot be read, trying again: {error}"
                )
                self._pause(self._heartbeat_s)

    def _serve(self, due: Clockwork, slots: Slots, opened_at: datetime, ahead: timedelta) -> Ending:
        """Take what comes out of the inbox until the schedule ends."""
        while True:
            message = self._inbox.get()
            if self._stop.event.is_set():
                return Ending("stopped", "told to stop")
            match message:
                case Due():
                    for slot in message.slots:
                        late_s = (datetime.now(UTC) + ahead - slot).total_seconds()
                        # What was missed before we began is catchUp's to judge.
                        if slot > opened_at and self._too_late(late_s):
                            self._skip(1, f"run of {shown(slot)} skipped: {late_s:.1f} s late")
                        elif ending := self._fire(slot, slots):
                            return ending
                    due.served()
                case Skipped(count):
                    self._skip(count, None)
                case NoMore():
                    return Ending("exhausted", why_over(self._timetable))
                case Woken():
                    pass
                case Broken(error):
                    raise error

    def _too_late(self, late_s: float) -> bool:
        grace_s = self._timetable.misfire_grace_s
        return grace_s is not None and late_s > grace_s

    def _fire(self, slot: datetime, slots: Slots) -> Ending | None:
        """Ask for a slot, and run it when it is ours; returns what ends the schedule."""
        self._wait_for_fresh_trust()
        next_at = slots.after(slot)
        claim = self._claim(slot, next_at)
        match claim:
            case Claimed(count):
                limit_s = None if next_at is None else (next_at - slot).total_seconds()
                return self._make(slot, count, limit_s)
            case AlreadyFired(term):
                self._log.say(
                    "run-skipped", f"run of {shown(slot)} skipped: it was made under term {term}"
                )
                return None
            case CountExhausted(count):
                return Ending("exhausted", f"maxCount is reached: {count} runs were made")
            case AlreadyEnded(reason):
                return Ending("exhausted", reason)
            case NotHolder(reason):
                return Ending("lost", reason)
            case None:
                return None

    def _claim(self, slot: datetime, next_at: datetime | None) -> Claim | None:
        """Claim a slot; None when the database is away. Only the last slot is worth waiting for."""
        while True:
            try:
                return self._ledger.claim(slot, next_at)
            except DatabaseUnreachableError as error:
                if next_at is not None:
                    text = f"run of {shown(slot)} skipped, it cannot be claimed: {error}"
                    self._log.warn("run-skipped", text)
                    return None
                self._log.warn(
                    "run-delayed", f"run of {shown(slot)} cannot be claimed yet: {error}"
                )
                self._trust.check()
                self._pause(self._heartbeat_s)

    def _make(self, slot: datetime, count: int, limit_s: float | None) -> Ending | None:
        """Make a claimed run with its retries, write down how it went, and judge it."""
        context = replace(self._context, scheduled_at=slot, count=count)
        started = self._clock.now()
        failure = self._failure(context, limit_s)
        duration_s = self._clock.now() - started
        outcome: Outcome = "ok" if failure is None else "failed"
        if isinstance(failure, RunStoppedError):
            outcome = "stopped"
        try:
            text = None if failure is None else error_text(failure)
            kept = self._ledger.finish(slot, outcome, duration_s, text)
        except DatabaseUnreachableError as error:
            self._log.warn(
                "outcome-unwritten", f"the outcome of {shown(slot)} is not written: {error}"
            )
            kept = True  # the next claim will find out
        if failure is not None and outcome == "failed" and self._after_error.log:
            text = f"run {count} ({shown(slot)}) failed: {error_text(failure)}"
            self._log.fail("run-failed", text, failure, count=count, slot=shown(slot))
        if not kept:
            return Ending("lost", "the token had another holder before the run ended")
        if self._stop.event.is_set():
            return Ending("stopped", "told to stop")
        if failure is not None and self._after_error.terminate:
            return Ending("terminated", f"run {count} failed, errorPolicy {self._policy.error}")
        if self._timetable.max_count is not None and count >= self._timetable.max_count:
            return Ending("exhausted", f"maxCount {self._timetable.max_count} is reached")
        return None

    def _failure(self, context: RunContext, limit_s: float | None) -> Exception | None:
        """Make a run with its retries; returns how it failed, if it did.

        Errors: TokenLostError when trust is over.
        """
        try:
            policies.attempts(
                lambda: self._job(context),
                retry=self._policy.retry,
                limit_s=limit_s,
                trust=self._trust,
                stop=self._stop.event,
                on_retry=self._tell_retry,
            )
        except Exception as error:  # noqa: BLE001 - whatever the user's program raises is its failure
            # It may have asked for another token, which is lost; only ours ends the schedule.
            self._trust.check()
            return error
        return None

    def _tell_retry(self, attempt: int, error: BaseException, pause_s: float) -> None:
        if self._after_error.log:
            text = f"attempt {attempt} failed, again in {pause_s:g} s: {error_text(error)}"
            self._log.warn("run-retried", text, attempt=attempt)

    def _exhausted(self, reason: str) -> Ending:
        """Write down, for the whole group, that no run is left."""
        while not self._inbox.empty():
            if isinstance(message := self._inbox.get(), Skipped):
                self._skip(message.count, None)
        try:
            if not self._ledger.end(reason):
                return Ending("lost", "the token had another holder before the schedule ended")
        except DatabaseUnreachableError as error:
            self._log.warn("end-unwritten", f"that the schedule has ended is not written: {error}")
        return Ending("exhausted", reason)

    def _skip(self, count: int, why: str | None) -> None:
        """Count slots that are not run; the ledger's count of them is only for people."""
        if why is not None:
            self._log.warn("run-skipped", why)
        try:
            self._ledger.skipped(count)
        except DatabaseUnreachableError as error:
            self._log.warn("skip-uncounted", f"{count} skipped runs are not counted: {error}")

    def _wait_for_fresh_trust(self) -> None:
        """Put a run off while renewals are missing: trust comes back soon, or is over."""
        while not self._trust.fresh(self._lease_s, self._heartbeat_s):
            self._trust.check()
            self._pause(self._heartbeat_s / 4)

    def _pause(self, seconds: float) -> None:
        if self._stop.event.wait(seconds):
            raise RunStoppedError("told to stop")

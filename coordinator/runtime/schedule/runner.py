"""The loop of a schedule: runs a program when it is due, while the token is held.

One thread does everything (the process's main thread, as programs expect). It waits for a slot by
the database's clock (database_clock.py), and checks three times before it runs anything:

1. trust: the guardian has extended it lately. A run is put off while two renewals are missing.
2. claim: one transaction that finds (term, session) current and the slot due by the server's own
   clock, and counts the slot as fired.
3. trust again: the claim may have taken long.

A slot is claimed before it is run, so it runs at most once, even when its node dies during the run.
While the database is away nothing is decided: the query is repeated while the token is held.

This loop does not end a run whose token is lost: a thread cannot be killed. The guardian kills the
process when trust is over.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from coordinator.errors import CoordError, DatabaseUnreachableError, TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.messages.schedule import Policy, Trigger
from coordinator.protocol.messages.schedule_claims import (
    AlreadyEnded,
    AlreadyFired,
    Claim,
    Claimed,
    CountExhausted,
    NotHolder,
    Outcome,
    TooEarly,
)
from coordinator.runtime.schedule import policies
from coordinator.runtime.schedule.asked_runs import AskedRunMaker, AskedRuns
from coordinator.runtime.schedule.database_clock import ScheduleClock
from coordinator.runtime.schedule.first_slot import Opening, opening, why_over
from coordinator.runtime.schedule.jobs import Job, RunContext, RunStoppedError
from coordinator.runtime.schedule.ledger import Ledger
from coordinator.runtime.schedule.run import Ending, Made, RunMaker
from coordinator.runtime.schedule.run_log import RunLog, shown
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.runtime.schedule.waits import Waits


class Schedule:
    """One schedule under one term."""

    def __init__(
        self,
        *,
        trigger: Trigger,
        policy: Policy,
        job: Job,
        context: RunContext,
        ledger: Ledger,
        stop: StopSignal,
        clock: Clock,
        lease_s: float,
        heartbeat_s: float,
        stop_timeout_s: float,
        log: RunLog | None = None,
        asked: AskedRuns | None = None,
    ) -> None:
        """asked: the record of runs by hand, if there is one."""
        self._trigger, self._policy = trigger, policy
        self._context, self._ledger, self._stop = context, ledger, stop
        self._log = log or RunLog(group=context.group, node=context.node, term=context.term)
        self._waits = Waits(
            trust=context.token,
            stop=stop,
            log=self._log,
            lease_s=lease_s,
            heartbeat_s=heartbeat_s,
        )
        self._maker = RunMaker(
            policy=policy,
            job=job,
            stop=stop,
            clock=clock,
            log=self._log,
            stop_timeout_s=stop_timeout_s,
        )
        self._asked = AskedRunMaker.of(asked, self._maker, context, self._waits, self._log)
        self._time = ScheduleClock(ledger, clock, self._waits, self._log, self._asked)
        self._opened_at = self._counted_from = datetime.min.replace(tzinfo=UTC)

    def run(self) -> Ending:
        """Run until stopped, exhausted, terminated or lost.

        Errors: DatabaseRefusedError, SchemaError and the like.
        """
        try:
            while True:
                begin, ending = self._open()
                ending = ending or self._serve(begin)
                if ending is not None:
                    return ending
        except TokenLostError as error:
            return Ending("lost", str(error))
        except RunStoppedError:
            return Ending("stopped", "told to stop")

    # --- the beginning ------------------------------------------------------------------------

    def _open(self) -> tuple[Opening, Ending | None]:
        """Read the record and decide where to begin; return an ending when nothing is left."""
        seen = self._waits.for_answer(
            self._time.open, "schedule-unread", "the schedule cannot be read"
        )
        self._opened_at = seen.now
        begin = opening(self._trigger, seen)
        if seen.ahead_s:
            self._time.tell_ahead(seen)
        if seen.unfinished and (
            told := self._waits.for_answer(self._ledger.settle, "run-died", "a run died")
        ):
            self._log.warn("run-died", told)
        if self._asked is not None:
            self._asked.settle()
        if seen.terminated:
            return begin, Ending("terminated", seen.end_reason)
        if begin.first is None:
            return begin, self._exhausted(begin.over, begin.skipped)
        if seen.ended:
            why = "it was asked for again" if seen.terminated_at else "the settings allow more runs"
            if not self._waits.for_answer(lambda: self._ledger.reopen(why), "schedule-unread", why):
                return begin, Ending("lost", "the token has another holder")
        self._counted_from = begin.counted_from
        at = shown(begin.first)
        self._log.say("schedule-opened", f"armed: next run at {at}", at=at)
        return begin, None

    # --- the loop over slots ------------------------------------------------------------------

    def _serve(self, begin: Opening) -> Ending | None:
        """Run slot after slot until the schedule ends; None when it must be opened again."""
        slot = begin.first
        while slot is not None:
            by_hand = self._time.wait_for_run(slot)
            if self._time.stepped:
                return None
            ending = self._fire(slot, begin) if by_hand is None else self._by_hand(by_hand, slot)
            if ending is not None or self._time.stepped:
                return ending
            slot = self._following(slot, begin) if by_hand is None else self._kept(slot, begin)
        skipped = begin.slots.count(self._counted_from, self._time.now())
        return self._exhausted(why_over(self._trigger), skipped)

    def _following(self, slot: datetime, begin: Opening) -> datetime | None:
        """Return the slot to wait for after `slot`, as the waiting policy says."""
        following, now = begin.slots.after(slot), self._time.now()
        if following is None or following > now:
            return following
        waiting = policies.waiting(self._policy.waiting)
        kept: datetime | None = following
        if not waiting.ignore:
            why = "too many wait"
            while kept is not None and begin.slots.count(kept, now) >= policies.QUEUE_MAX:
                kept = begin.slots.at_or_after(kept + (now - kept) / 2)
            count = 0 if kept is None else begin.slots.count(slot, kept) - 1
        elif following <= self._opened_at:
            return following  # missed before this holder began: catchUp has decided about it
        else:
            why, kept = "one is going on", begin.slots.at_or_after(now)
            count = begin.slots.count(slot, now) - (kept == now)
        if waiting.log and count > 0:
            self._log.warn("run-skipped", f"{count} run(s) skipped: {why}", count=count)
        return kept

    def _by_hand(self, asked_for: datetime, slot: datetime) -> Ending | None:
        """Make a run that somebody asks for while `slot` is waited for (X3)."""
        assert self._asked is not None, "somebody asks by the record of runs by hand"
        made = self._asked.make(asked_for, max(0.0, self._time.until_s(slot)))
        return None if made is None else self._stopped(made, "the run by hand")

    def _kept(self, slot: datetime, begin: Opening) -> datetime | None:
        """Return the slot to wait for after a run by hand, as the waiting policy says."""
        waiting, now = policies.waiting(self._policy.waiting), self._time.now()
        if slot > now or not waiting.ignore:
            return slot
        if waiting.log:
            self._log.warn("run-skipped", "run(s) skipped: one by hand was going on")
        return begin.slots.at_or_after(now)

    def _stopped(self, made: Made, run: str) -> Ending | None:
        """Return the ending of a schedule that was told to stop."""
        if made.cut:
            return Ending("cut", f"{run} was ended: its stopTimeout was over")
        return Ending("stopped", "told to stop") if self._stop.event.is_set() else None

    # --- one slot -----------------------------------------------------------------------------

    def _fire(self, slot: datetime, begin: Opening) -> Ending | None:
        """Claim a slot and run it if the claim succeeds; return the schedule's ending, if any."""
        self._waits.for_fresh_trust()
        next_at = begin.slots.after(slot)
        skipped = max(0, begin.slots.count(self._counted_from, slot) - 1)
        match self._claim(slot, next_at, skipped):
            case Claimed(count):
                self._counted_from = slot
                limit_s = None if next_at is None else (next_at - slot).total_seconds()
                return self._make(slot, count, limit_s)
            case AlreadyFired(term):
                self._counted_from = slot
                text = f"run of {shown(slot)} skipped: it was made under term {term}"
                self._log.say("run-skipped", text)
                return None
            case CountExhausted(count):
                return self._exhausted(f"maxCount is reached: {count} runs were made", 0)
            case AlreadyEnded(reason):
                return Ending("exhausted", reason)
            case NotHolder(reason):
                return Ending("lost", reason)
            case TooEarly() | None:
                return None

    def _claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Claim | None:
        """Claim a slot; None when it is not to be run any more.

        While the database is away, the claim is repeated as long as the token is held;
        misfireGraceTime decides whether the run is still wanted then.
        """
        told = False
        while True:
            if self._too_late(slot) and not self._ledger.unsure(slot):
                return None
            try:
                answered = self._time.claim(slot, next_at, skipped)
            except DatabaseUnreachableError as error:
                if not told:
                    text = f"run of {shown(slot)} waits: it cannot be claimed: {error}"
                    self._log.warn("run-delayed", text)
                told = True
                self._waits.trust.check()
                self._waits.pause(self._waits.heartbeat_s)
                continue
            if not isinstance(answered.claim, TooEarly):
                return answered.claim
            text = f"run of {shown(slot)} refused: {answered.claim.ahead_s:.1f} s too early"
            self._log.warn("run-refused", f"ALERT: {text} by the database's clock")
            self._time.wait_until(slot)
            if self._time.stepped:
                return None

    def _too_late(self, slot: datetime) -> bool:
        """Say whether a run is later than misfireGraceTime allows, and log it."""
        grace_s, late_s = self._trigger.misfire_grace_s, -self._time.until_s(slot)
        if grace_s is None or late_s <= grace_s:
            return False
        text = f"run of {shown(slot)} skipped: {late_s:.1f} s late, misfireGraceTime {grace_s:g} s"
        self._log.warn("run-skipped", text)
        return True

    def _make(self, slot: datetime, count: int, limit_s: float | None) -> Ending | None:
        """Make a claimed run with its retries, record its outcome, and return an ending."""
        if self._too_late(slot):
            # The answer to its claim was lost, and came too late for the run.
            late = "its claim was answered too late"
            self._write_outcome(slot, "skipped", 0.0, late, None)
            return None
        context = replace(self._context, scheduled_at=slot, count=count)
        made = self._maker.make(context, limit_s)
        kept = self._write_outcome(slot, made.outcome, made.duration_s, made.error, made.terminate)
        self._maker.say_failed(context, made)
        if not kept:
            return Ending("lost", "the token had another holder before the run ended")
        if made.terminate is not None:
            return Ending("terminated", made.terminate)
        if stopped := self._stopped(made, f"run {count}"):
            return stopped
        if self._trigger.max_count is not None and count >= self._trigger.max_count:
            return self._exhausted(f"maxCount {self._trigger.max_count} is reached", 0)
        return None

    # --- the group's record -------------------------------------------------------------------

    def _write_outcome(
        self,
        slot: datetime,
        outcome: Outcome,
        duration_s: float,
        error: str | None,
        terminate: str | None,
    ) -> bool:
        """Record a run's outcome; false when this node no longer holds the token."""
        try:
            return self._waits.for_answer(
                lambda: self._ledger.finish(slot, outcome, duration_s, error, terminate),
                "outcome-unwritten",
                f"the outcome of {shown(slot)} is not written yet",
            )
        except RunStoppedError:
            return True  # the next holder finds a run without an end, and reports it
        except TokenLostError:
            raise
        except CoordError as error:
            # A run whose outcome cannot be recorded does not prevent further runs.
            if terminate is not None:
                raise
            self._log.warn("outcome-unwritten", f"the outcome of {shown(slot)}: {error}")
            return True

    def _exhausted(self, reason: str, skipped: int) -> Ending:
        """Record for the whole group that no run is left; skipped: slots that nobody ran."""
        try:
            ended = self._waits.for_answer(
                lambda: self._ledger.end(reason, skipped),
                "end-unwritten",
                "that the schedule has ended is not written yet",
            )
        except RunStoppedError:
            ended = True
        if not ended:
            return Ending("lost", "the token had another holder before the schedule ended")
        return Ending("exhausted", reason)

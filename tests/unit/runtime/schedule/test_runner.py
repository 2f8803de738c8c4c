"""W5, W6: a schedule on the real APScheduler, with a record in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.errors import CoordError, TokenLostError
from coordinator.protocol.messages.schedule import Policy, Retry
from coordinator.runtime.log.logger import LOGGER
from coordinator.runtime.schedule.jobs import RunContext
from tests.support.fakes.schedules import WAIT_S, MemoryLedger, Runner

TICK_S = 0.02
HOUR = timedelta(hours=1)
BEGAN = datetime.now(UTC)


def fail(context: RunContext) -> None:
    raise ValueError(f"run {context.count} went wrong")


def nothing(context: RunContext) -> None:
    """A run that is over at once."""


def last_for(ticks: int) -> None:
    """Run that takes longer than its interval."""
    threading.Event().wait(ticks * TICK_S)


def stopping_after(runs: int) -> tuple[Callable[[RunContext], None], list[RunContext]]:
    """Return a job that tells the schedule to stop in its n-th run, and the list of its runs."""
    made: list[RunContext] = []

    def run(context: RunContext) -> None:
        made.append(context)
        if len(made) == runs:
            context.stop_event.set()

    return run, made


# --- how often, and until when --------------------------------------------------------------------


def test_first_run_comes_at_once_on_a_fresh_schedule() -> None:
    job, made = stopping_after(1)

    ending = Runner(job, interval_s=3600).go()

    assert ending.kind == "stopped"
    assert [context.count for context in made] == [1]


def test_group_count_ends_the_schedule() -> None:
    runner = Runner(nothing, interval_s=TICK_S, max_count=3)

    ending = runner.go()

    assert ending.kind == "exhausted"
    assert len(runner.ledger.fired) == 3
    assert runner.ledger.ended == "maxCount 3 is reached"


def test_count_goes_on_under_the_next_term() -> None:
    ledger = MemoryLedger(max_count=5)
    ledger.fired = [datetime.now(UTC) - HOUR + timedelta(seconds=k) for k in range(3)]

    ending = Runner(nothing, ledger=ledger, interval_s=TICK_S, max_count=5).go()

    assert ending.kind == "exhausted"
    assert len(ledger.fired) == 5


def test_schedule_that_is_exhausted_runs_nothing_for_the_next_holder() -> None:
    ledger = MemoryLedger(max_count=1, fired=[BEGAN], ended="maxCount 1 is reached")
    made: list[RunContext] = []

    ending = Runner(made.append, ledger=ledger, interval_s=TICK_S, max_count=1).go()

    assert ending.kind == "exhausted"
    assert made == []


def test_schedule_opens_again_when_its_settings_allow_more() -> None:
    ledger = MemoryLedger(max_count=2, fired=[BEGAN - HOUR], ended="maxCount 1 is reached")

    Runner(nothing, ledger=ledger, interval_s=TICK_S, max_count=2).go()

    assert len(ledger.fired) == 2


def test_end_time_ends_the_schedule() -> None:
    closes_at = datetime.now(UTC) + timedelta(seconds=5 * TICK_S)
    runner = Runner(nothing, interval_s=TICK_S, closes_at=closes_at)

    ending = runner.go()

    assert ending.kind == "exhausted"
    assert runner.ledger.ended is not None
    assert runner.ledger.fired[-1] <= closes_at


def test_one_moment_is_run_once_and_ends_the_schedule() -> None:
    at = datetime.now(UTC) + timedelta(seconds=TICK_S)
    runner = Runner(nothing, at=at)

    ending = runner.go()

    assert ending.kind == "exhausted"
    assert runner.ledger.fired == [at]


def test_run_is_told_its_slot_and_not_the_moment_of_its_start() -> None:
    job, made = stopping_after(2)

    runner = Runner(job, interval_s=TICK_S)
    runner.go()

    assert [context.scheduled_at for context in made] == runner.ledger.fired
    assert runner.ledger.fired[1] - runner.ledger.fired[0] == timedelta(seconds=TICK_S)


def test_missed_runs_are_all_made_when_asked_for() -> None:
    last = datetime.now(UTC) - timedelta(seconds=3570)
    ledger = MemoryLedger(fired=[last])
    job, _ = stopping_after(4)

    Runner(job, ledger=ledger, interval_s=600, catch_up="all").go()

    assert ledger.fired == [last + timedelta(seconds=600 * k) for k in range(5)]


def test_slots_are_those_of_the_databases_clock() -> None:
    ledger = MemoryLedger(server=lambda: datetime.now(UTC) + HOUR)
    job, _ = stopping_after(1)

    Runner(job, ledger=ledger, interval_s=TICK_S).go()

    assert ledger.fired[0] - datetime.now(UTC) > 0.9 * HOUR


def test_late_run_is_skipped_where_that_is_asked_for() -> None:
    def slow_at_first(context: RunContext) -> None:
        if context.count == 1:
            last_for(ticks=10)
        else:
            context.stop_event.set()

    runner = Runner(slow_at_first, interval_s=TICK_S, misfire_grace_s=2 * TICK_S)
    runner.go()

    assert runner.ledger.skips >= 3


# --- waiting policies -----------------------------------------------------------------------------


def test_waiting_policy_wait_makes_every_run_back_to_back() -> None:
    job, made = stopping_after(6)

    def slow_at_first(context: RunContext) -> None:
        if context.count == 1:
            last_for(ticks=5)
        job(context)

    runner = Runner(slow_at_first, policy=Policy(waiting="WAIT"), interval_s=TICK_S)
    runner.go()

    steps = {b - a for a, b in zip(runner.ledger.fired, runner.ledger.fired[1:], strict=False)}
    assert steps == {timedelta(seconds=TICK_S)}
    assert len(made) == 6


@pytest.mark.parametrize(("policy", "logged"), [("IGNORE", False), ("LOG_AND_IGNORE", True)])
def test_waiting_policy_ignore_skips_what_comes_during_a_run(
    policy: str, logged: bool, logs: list[logging.LogRecord]
) -> None:
    job, _ = stopping_after(2)

    def slow_at_first(context: RunContext) -> None:
        if context.count == 1:
            last_for(ticks=20)
        job(context)

    runner = Runner(slow_at_first, policy=Policy(waiting=policy), interval_s=TICK_S)  # type: ignore[arg-type]
    runner.go()

    assert runner.ledger.fired[1] - runner.ledger.fired[0] >= timedelta(seconds=19 * TICK_S)
    assert runner.ledger.skips >= 1
    assert any("one is going on" in line.getMessage() for line in logs) is logged


# --- error policies -------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["LOG_AND_TERMINATE", "TERMINATE"])
def test_error_policy_terminate_ends_the_schedule_for_the_group(
    policy: str, logs: list[logging.LogRecord]
) -> None:
    runner = Runner(fail, policy=Policy(error=policy), interval_s=TICK_S)  # type: ignore[arg-type]

    ending = runner.go()

    assert ending.kind == "terminated"
    assert runner.ledger.finished == [("failed", "ValueError: run 1 went wrong")]
    # Other groups may read this: not what the program said.
    assert runner.ledger.ended == f"run 1 failed: ValueError (errorPolicy {policy})"
    assert runner.ledger.terminated_at is not None
    told = [line for line in logs if "went wrong" in line.getMessage()]
    assert len(told) == (1 if policy == "LOG_AND_TERMINATE" else 0)


@pytest.mark.parametrize("policy", ["LOG_AND_CONTINUE", "CONTINUE"])
def test_error_policy_continue_makes_the_next_run(
    policy: str, logs: list[logging.LogRecord]
) -> None:
    runner = Runner(fail, policy=Policy(error=policy), interval_s=TICK_S, max_count=3)  # type: ignore[arg-type]

    ending = runner.go()

    assert ending.kind == "exhausted"
    assert [outcome for outcome, _ in runner.ledger.finished] == ["failed"] * 3
    told = [line for line in logs if "went wrong" in line.getMessage()]
    assert len(told) == (3 if policy == "LOG_AND_CONTINUE" else 0)


def test_logged_failure_shows_the_users_frames_alone(logs: list[logging.LogRecord]) -> None:
    Runner(fail, interval_s=TICK_S).go()

    (failed,) = [line for line in logs if getattr(line, "event", "") == "run-failed"]
    assert failed.exc_info is not None
    assert failed.exc_info[2] is not None
    assert failed.exc_info[2].tb_frame.f_code.co_name == "fail"


def test_run_that_succeeds_on_a_retry_did_not_fail() -> None:
    tries: list[int] = []

    def second_time_lucky(context: RunContext) -> None:
        tries.append(context.count)
        if len(tries) == 1:
            raise ValueError("not yet")

    policy = Policy(retry=Retry(max_attempts=1, retry_interval_s=0.001))
    runner = Runner(second_time_lucky, policy=policy, interval_s=30, max_count=1)
    runner.go()

    assert tries == [1, 1]
    assert runner.ledger.finished == [("ok", None)]


# --- the gate -------------------------------------------------------------------------------------


def test_nothing_is_run_when_the_token_has_another_term() -> None:
    made: list[RunContext] = []
    runner = Runner(made.append, ledger=MemoryLedger(me=1, term=2), interval_s=TICK_S)

    ending = runner.go()

    assert ending.kind == "lost"
    assert made == []


def test_schedule_is_lost_when_the_term_changed_during_a_run() -> None:
    ledger = MemoryLedger()

    def overtaken(context: RunContext) -> None:
        ledger.term = 2

    ending = Runner(overtaken, ledger=ledger, interval_s=TICK_S).go()

    assert ending.kind == "lost"
    assert ledger.finished == []


def test_nothing_is_run_once_trust_is_lost() -> None:
    made: list[RunContext] = []
    runner = Runner(made.append, interval_s=TICK_S)
    runner.trust.lost = True

    ending = runner.go()

    assert ending.kind == "lost"
    assert made == []


def test_run_waits_while_renewals_are_missing() -> None:
    job, made = stopping_after(1)
    runner = Runner(job, interval_s=3600)
    runner.trust.stale = True
    runner.start()
    assert runner.trust.asked_while_stale.wait(WAIT_S)
    assert made == []

    runner.trust.stale = False

    assert runner.ending().kind == "stopped"
    assert len(made) == 1


def test_run_whose_database_was_away_is_made_when_it_is_back() -> None:
    ledger = MemoryLedger(away=3)
    job, made = stopping_after(3)

    Runner(job, ledger=ledger, interval_s=TICK_S).go()

    steps = {b - a for a, b in zip(ledger.fired, ledger.fired[1:], strict=False)}
    assert steps == {timedelta(seconds=TICK_S)}
    assert len(made) == 3
    assert ledger.skips == 0


def test_last_run_is_not_skipped_but_claimed_later() -> None:
    ledger = MemoryLedger(away=2)
    at = datetime.now(UTC)

    ending = Runner(nothing, ledger=ledger, at=at).go()

    assert ending.kind == "exhausted"
    assert ledger.fired == [at]


def test_slot_that_was_fired_before_is_not_fired_again() -> None:
    # The record moved on after we read it: a claim of ours, whose process died.
    class Late(MemoryLedger):
        def open(self):
            seen = super().open()
            self.fired.append(seen.now + timedelta(seconds=2.5 * TICK_S))
            return seen

    ledger = Late()
    job, made = stopping_after(1)

    Runner(job, ledger=ledger, interval_s=TICK_S).go()

    assert made[0].scheduled_at is not None
    assert made[0].scheduled_at > ledger.fired[0]


def test_token_of_somebody_else_that_is_lost_is_a_failure_like_others() -> None:
    def other_token(context: RunContext) -> None:
        raise TokenLostError("the token of another group is lost")

    assert Runner(other_token, interval_s=TICK_S).go().kind == "terminated"


def test_program_that_sees_its_own_trust_end_is_not_blamed() -> None:
    def until_lost(context: RunContext) -> None:
        runner.trust.lost = True
        context.token.check()

    runner = Runner(until_lost, interval_s=TICK_S)

    assert runner.go().kind == "lost"


def test_outcome_that_cannot_be_written_ends_no_schedule_that_goes_on() -> None:
    class Refusing(MemoryLedger):
        def finish(self, *given):  # noqa: ARG002
            raise CoordError("unexpected error in the schedule's record: TypeError: what?")

    runner = Runner(
        fail, ledger=Refusing(), policy=Policy(error="LOG_AND_CONTINUE"), interval_s=TICK_S
    )
    runner.start()
    while len(runner.ledger.fired) < 3:
        assert threading.Event().wait(TICK_S) is False

    runner.stop.set()

    assert runner.ending().kind == "stopped"


def test_claim_whose_answer_was_lost_is_run_once() -> None:
    ledger = MemoryLedger(lost_answers=2)
    job, made = stopping_after(2)

    Runner(job, ledger=ledger, interval_s=TICK_S).go()

    assert [context.scheduled_at for context in made] == ledger.fired


def test_schedule_that_was_terminated_runs_nothing_until_it_is_asked_for() -> None:
    """C5"""
    ledger = MemoryLedger(fired=[BEGAN - HOUR], ended="run 1 failed: no", terminated_at=BEGAN)
    job, made = stopping_after(1)

    ending = Runner(job, ledger=ledger, interval_s=TICK_S).go()

    assert (ending.kind, ending.reason) == ("terminated", "run 1 failed: no")
    assert made == []
    ledger.asked_at = BEGAN + HOUR
    assert Runner(job, ledger=ledger, interval_s=TICK_S).go().kind == "stopped"
    assert len(made) == 1


@pytest.mark.parametrize("waiting", ["WAIT", "IGNORE"])
def test_every_slot_is_run_or_told_as_skipped(waiting: str) -> None:
    job, _ = stopping_after(4)

    def slow_at_first(context: RunContext) -> None:
        if context.count == 2:
            last_for(ticks=20)
        job(context)

    runner = Runner(slow_at_first, policy=Policy(waiting=waiting), interval_s=TICK_S)  # type: ignore[arg-type]
    runner.go()

    first, last = runner.ledger.fired[0], runner.ledger.fired[-1]
    due = round((last - first).total_seconds() / TICK_S) + 1
    assert len(runner.ledger.fired) + runner.ledger.skips == due


def test_record_ahead_of_the_databases_clock_is_an_alert_and_no_silence() -> None:
    """C4"""
    ledger = MemoryLedger(fired=[datetime.now(UTC) + HOUR])
    job, made = stopping_after(2)

    Runner(job, ledger=ledger, interval_s=TICK_S).go()

    assert ledger.alerts == ["schedule-ahead"]
    assert len(made) == 2
    assert all(context.scheduled_at < datetime.now(UTC) for context in made)


def test_run_that_died_is_told_before_the_next(logs: list[logging.LogRecord]) -> None:
    """C6"""
    ledger = MemoryLedger(fired=[BEGAN - HOUR], running=True)
    job, _ = stopping_after(1)

    Runner(job, ledger=ledger, interval_s=TICK_S).go()

    assert [line.getMessage() for line in logs if getattr(line, "event", "") == "run-died"] == [
        "g: run 1 died"
    ]


# --- stopping -------------------------------------------------------------------------------------


def test_stop_wakes_a_schedule_that_waits_for_its_next_run() -> None:
    ran = threading.Event()
    runner = Runner(lambda _: ran.set(), interval_s=3600)
    runner.start()
    assert ran.wait(WAIT_S)

    runner.stop.set()

    assert runner.ending().kind == "stopped"


def test_stop_waits_for_the_run_and_starts_no_other() -> None:
    running, go_on = threading.Event(), threading.Event()

    def run(context: RunContext) -> None:
        running.set()
        assert go_on.wait(WAIT_S)

    runner = Runner(run, interval_s=TICK_S)
    runner.start()
    assert running.wait(WAIT_S)
    runner.stop.set()
    go_on.set()

    assert runner.ending().kind == "stopped"
    assert runner.ledger.finished == [("ok", None)]
    assert len(runner.ledger.fired) == 1


def test_stop_ends_the_pause_before_a_retry() -> None:
    failed = threading.Event()

    def run(context: RunContext) -> None:
        failed.set()
        raise ValueError

    policy = Policy(retry=Retry(max_attempts=9, retry_interval_s=3000))
    runner = Runner(run, policy=policy, interval_s=36000)
    runner.start()
    assert failed.wait(WAIT_S)
    runner.stop.set()

    assert runner.ending().kind == "stopped"
    assert runner.ledger.finished == [("stopped", runner.ledger.finished[0][1])]


@pytest.fixture
def logs() -> list[logging.LogRecord]:
    """The lines of this project's logger, whoever has configured it before."""
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    logger = logging.getLogger(LOGGER)
    level, logger.level = logger.level, logging.INFO
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
    logger.level = level

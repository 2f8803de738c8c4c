"""X2, X3: runs by hand among the runs of a schedule, with records in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.protocol.messages.schedule import Policy
from coordinator.runtime.schedule.jobs import RunContext
from tests.support.fakes.schedules import MemoryAskedRuns, MemoryLedger, Runner

HOUR = timedelta(hours=1)


def stopping_after(
    count: int, then: Callable[[RunContext], None] = lambda _: None
) -> tuple[Callable[[RunContext], None], list[datetime]]:
    """Return a job that tells the schedule to stop in its n-th run, and the slots of its runs."""
    made: list[datetime] = []

    def run(context: RunContext) -> None:
        assert context.scheduled_at is not None
        made.append(context.scheduled_at)
        if len(made) == count:
            context.stop_event.set()
        then(context)

    return run, made


def fired_now() -> MemoryLedger:
    """Return the record of a schedule whose next slot is an hour away."""
    return MemoryLedger(fired=[datetime.now(UTC)])


def test_a_request_is_run_at_once_and_leaves_the_schedule_as_it_was() -> None:
    """X3: neither its slots nor its count change."""
    asked, ledger = MemoryAskedRuns(), fired_now()
    before = list(ledger.fired)
    slot = asked.ask()
    job, made = stopping_after(1)

    ending = Runner(job, ledger=ledger, asked=asked, interval_s=3600).go()

    assert (ending.kind, made) == ("stopped", [slot])
    assert ledger.fired == before
    assert asked.finished == [("ok", None)]


def test_a_request_is_heard_of_while_the_next_slot_is_waited_for() -> None:
    asked = MemoryAskedRuns()
    job, made = stopping_after(1)
    runner = Runner(job, ledger=fired_now(), asked=asked, interval_s=3600)
    runner.start()

    slot = asked.ask()

    assert runner.ending().kind == "stopped"
    assert made == [slot]


def test_a_failed_run_by_hand_does_not_end_the_schedule() -> None:
    """X3: with the default error policy a failed run of the schedule itself would."""
    asked, ledger = MemoryAskedRuns(), fired_now()
    asked.ask()
    follows: list[datetime] = []

    def fail(context: RunContext) -> None:
        if follows:
            context.stop_event.set()
            return
        follows.append(asked.ask())
        raise ValueError("went wrong")

    ending = Runner(fail, ledger=ledger, asked=asked, interval_s=3600).go()

    assert ending.kind == "stopped"
    assert asked.finished == [("failed", "ValueError: went wrong"), ("ok", None)]
    assert ledger.ended is None


def test_a_claim_whose_answer_was_lost_is_run_once() -> None:
    """X2: the record shows it as started, and only this process can know that it was not."""
    asked = MemoryAskedRuns(lost_answers=1)
    slot = asked.ask()
    job, made = stopping_after(1)

    Runner(job, ledger=fired_now(), asked=asked, interval_s=3600).go()

    assert (made, asked.fired) == ([slot], [slot])


def test_a_request_is_not_run_by_one_who_is_not_the_holder_any_more() -> None:
    asked = MemoryAskedRuns(term=2)
    asked.ask()
    job, made = stopping_after(1)

    ending = Runner(job, ledger=fired_now(), asked=asked, interval_s=3600).go()

    assert (ending.kind, made) == ("lost", [])


def test_a_run_that_died_is_written_down_by_the_next_holder_and_not_made_again() -> None:
    """X4."""
    asked = MemoryAskedRuns(running=True)
    asked.fired.append(asked.ask())
    job, made = stopping_after(1)

    Runner(job, ledger=MemoryLedger(), asked=asked, interval_s=3600).go()

    assert asked.running is False
    assert made != asked.asked


@pytest.mark.parametrize(("waiting", "runs"), [("WAIT", 1), ("IGNORE", 0)])
def test_a_slot_that_comes_during_a_run_by_hand_follows_the_waiting_policy(
    waiting: str, runs: int
) -> None:
    """X3: as if one of the schedule's own runs had been going on."""
    asked = MemoryAskedRuns()
    ledger = MemoryLedger(fired=[datetime.now(UTC) - HOUR + timedelta(seconds=0.5)])
    due = ledger.fired[0] + HOUR
    by_hand = asked.ask()

    def outlast(context: RunContext) -> None:
        if context.scheduled_at == by_hand:
            context.stop_event.wait((due - datetime.now(UTC)).total_seconds() + 0.05)
            follows.append(asked.ask())

    follows: list[datetime] = []
    job, made = stopping_after(2 + runs, outlast)
    policy = Policy(waiting=waiting)  # type: ignore[arg-type]

    Runner(job, policy=policy, ledger=ledger, asked=asked, interval_s=3600).go()

    assert made.count(due) == runs
    assert [slot for slot in made if slot != due] == [by_hand, *follows][: 2 + runs]

"""Promises of schedules in an application's own process, kept by real ones and by fakes alike.

The words are those of docs/schedules.md; what the loop of a schedule decides is tested in
tests/unit/runtime/schedule, and what its record keeps in tests/integration/test_schedule_store.py.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest

from coordinator import JobContext, Retry, ScheduleEndedError
from coordinator.errors import ConfigError, UsageError
from tests.conformance.api.conftest import GROUP, Maker

WITHIN_S = 60.0
PAST = "2020-01-01T00:00:00Z"


def noted() -> tuple[Callable[[JobContext], None], queue.SimpleQueue[JobContext]]:
    """Return a function to be run, and what it was called with."""
    calls: queue.SimpleQueue[JobContext] = queue.SimpleQueue()

    def work(context: JobContext) -> None:
        calls.put(context)

    return work, calls


def test_a_run_is_told_its_slot_its_term_and_its_token(maker: Maker):
    coordinator = maker.coordinator("a")
    work, calls = noted()
    coordinator.every("1h")(work)

    coordinator.start()
    context = calls.get(timeout=WITHIN_S)

    assert (context.group, context.name, context.count) == (GROUP, "work", 1)
    assert context.token.name == f"{GROUP}/work"
    assert (context.term, context.session) == (context.token.term, context.token.session)
    assert context.node.startswith("a.")
    assert context.scheduled_at.utcoffset() is not None
    assert coordinator.stop()
    assert context.stop_event.is_set()
    assert not context.token.is_held()
    assert maker.record(f"{GROUP}/work") == (1, "ok", False)


def test_one_process_of_two_runs_it_and_the_count_goes_on_at_the_other(maker: Maker):
    first, second = maker.coordinator("a"), maker.coordinator("b")
    work, calls = noted()
    for coordinator in (first, second):
        coordinator.every(0.05, max_count=1_000_000)(work)

    first.start()
    mine = calls.get(timeout=WITHIN_S)
    second.start()
    assert first.stop()
    theirs = calls.get(timeout=WITHIN_S)
    while theirs.term == mine.term:
        last, theirs = theirs, calls.get(timeout=WITHIN_S)
        mine = last
    assert second.stop()

    assert (mine.node[:2], theirs.node[:2]) == ("a.", "b.")
    assert (theirs.term, theirs.count) == (mine.term + 1, mine.count + 1)


def test_a_loss_tells_the_run_to_end_and_the_schedule_goes_on_under_a_new_term(maker: Maker):
    coordinator = maker.coordinator()
    calls: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
    began = threading.Event()

    @coordinator.every(0.05, name="slow")
    def work(context: JobContext) -> None:
        if context.count == 1:
            began.set()
            assert context.stop_event.wait(WITHIN_S)
        calls.put((context.term, context.token.is_held()))

    coordinator.start()
    assert began.wait(WITHIN_S)
    maker.take_away(f"{GROUP}/slow")

    assert calls.get(timeout=WITHIN_S) == (1, False)
    assert calls.get(timeout=WITHIN_S) == (2, True)
    assert coordinator.stop()


def test_functions_under_the_group_s_own_token_run_in_one_process(maker: Maker):
    coordinator, other = maker.coordinator("a"), maker.coordinator("b")
    work, calls = noted()
    for each in (coordinator, other):
        each.every("1h", name="x", group_token=True)(work)
        each.cron("* * * * *", name="y", group_token=True, timezone="Europe/Berlin")(work)
        each.once(PAST, name="z", group_token=True)(work)

    coordinator.start()
    seen = [calls.get(timeout=WITHIN_S) for _ in range(2)]
    other.start()
    assert coordinator.stop()
    assert other.stop()

    assert {each.name for each in seen} == {"x", "z"}
    assert {(each.token.name, each.term) for each in seen} == {(GROUP, 1)}
    assert maker.record(GROUP, "z")[:2] == (1, "ok")
    assert maker.record(GROUP, "x") == (1, "ok", False)


def test_run_returns_when_the_last_schedule_has_ended(maker: Maker):
    coordinator = maker.coordinator()
    work, calls = noted()
    coordinator.every(0.05, max_count=2)(work)
    coordinator.once(PAST, name="then")(work)

    coordinator.run()

    assert sorted((each.name, each.count) for each in (calls.get(), calls.get(), calls.get())) == [
        ("then", 1),
        ("work", 1),
        ("work", 2),
    ]
    assert calls.empty()
    assert maker.record(f"{GROUP}/work") == (2, "ok", True)


def test_a_failed_run_ends_the_schedule_for_the_group_until_a_process_starts_it(maker: Maker):
    """The default error policy is that of Config.toml; a start after the end asks for it again."""
    coordinator, other = maker.coordinator("a"), maker.coordinator("b")
    calls: list[int] = []

    def fail(context: JobContext) -> None:
        calls.append(context.count)
        raise ValueError("no disk")

    for each in (coordinator, other):
        each.every(0.01)(fail)

    with pytest.raises(ScheduleEndedError, match="fail: run 1 failed: ValueError"):
        coordinator.run()
    while calls == [1]:  # a start within the same milliseconds does not come after the end
        with pytest.raises(ScheduleEndedError, match=r"fail: run [12] failed"):
            other.run()

    assert calls == [1, 2]
    assert maker.record(f"{GROUP}/fail") == (2, "failed", True)


def test_a_failed_run_is_made_again_and_the_schedule_goes_on_as_asked(maker: Maker):
    coordinator = maker.coordinator()
    attempts: list[int] = []

    @coordinator.every(
        0.5, max_count=2, error_policy="LOG_AND_CONTINUE", retry=Retry(retry_interval_s=0.001)
    )
    def work(context: JobContext) -> None:
        attempts.append(context.count)
        if len(attempts) == 1:
            raise ValueError("the first attempt")

    coordinator.run()

    assert attempts == [1, 1, 2]


def test_a_function_without_arguments_and_a_coroutine_function_are_run(maker: Maker):
    coordinator = maker.coordinator()
    ran = set()

    @coordinator.once(PAST)
    def plain() -> None:
        ran.add("plain")

    @coordinator.once(PAST)
    async def coroutine() -> None:
        ran.add("coroutine")

    coordinator.run()

    assert ran == {"plain", "coroutine"}


def test_a_stop_that_a_run_outlasts_says_so_and_its_token_stays_until_it_ends(maker: Maker):
    coordinator = maker.coordinator("a")
    began, goes_on = threading.Event(), threading.Event()

    @coordinator.every("1h")
    def work() -> None:
        began.set()
        goes_on.wait(WITHIN_S)

    coordinator.start()
    assert began.wait(WITHIN_S)
    assert not coordinator.stop(timeout=0.05)
    with pytest.raises(UsageError, match="run already"):
        coordinator.start()
    goes_on.set()

    assert coordinator.stop(timeout=WITHIN_S)
    assert maker.record(f"{GROUP}/work") == (1, "ok", False)


def test_run_returns_when_a_run_outlasts_a_stop(maker: Maker):
    coordinator = maker.coordinator("a")
    goes_on, returned = threading.Event(), threading.Event()

    @coordinator.every("1h")
    def work() -> None:
        coordinator.stop()
        goes_on.wait(WITHIN_S)

    def run() -> None:
        coordinator.run(timeout=0.05)
        returned.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert returned.wait(WITHIN_S)
    goes_on.set()
    thread.join()

    assert coordinator.stop(timeout=WITHIN_S)
    assert maker.record(f"{GROUP}/work") == (1, "ok", False)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_run_that_would_end_its_thread_takes_no_token_from_another_one(maker: Maker, ending):
    coordinator = maker.coordinator("a")
    failed, held = threading.Event(), queue.SimpleQueue[bool]()

    @coordinator.every("1h", group_token=True)
    def fails() -> None:
        failed.set()
        raise ending(1)

    @coordinator.every("1h", group_token=True)
    def lasts(context: JobContext) -> None:
        failed.wait(WITHIN_S)
        while maker.record(GROUP, "fails")[1] != "failed":
            context.stop_event.wait(0.01)
        held.put(context.token.is_held())

    coordinator.start()

    assert held.get(timeout=WITHIN_S)
    assert coordinator.stop(timeout=WITHIN_S)
    assert maker.record(GROUP, "lasts") == (1, "ok", False)


def test_schedules_that_have_all_ended_can_be_started_again(maker: Maker):
    coordinator = maker.coordinator("a")
    work, calls = noted()
    coordinator.once(PAST)(work)
    ended = threading.Event()

    coordinator.start()
    calls.get(timeout=WITHIN_S)
    coordinator._jobs().on_end(ended.set)
    assert ended.wait(WITHIN_S)
    coordinator.start()

    assert coordinator.stop(timeout=WITHIN_S)
    assert calls.empty()


def test_a_run_that_stops_its_schedules_does_not_wait_for_itself(maker: Maker):
    coordinator = maker.coordinator("a")
    said: queue.SimpleQueue[bool] = queue.SimpleQueue()

    for name in ("first", "second"):
        coordinator.every("1h", name=name, group_token=True)(
            lambda: said.put(coordinator.stop(timeout=2 * WITHIN_S))
        )
    coordinator.start()

    assert said.get(timeout=WITHIN_S) is False
    assert coordinator.stop(timeout=WITHIN_S)


def test_schedules_can_be_stopped_while_they_wait_and_started_again(maker: Maker):
    coordinator, other = maker.coordinator("a"), maker.coordinator("b")
    work, calls = noted()
    coordinator.every("1h")(work)

    with other.token("work"):
        coordinator.start()
        assert coordinator.stop()
    assert calls.empty()
    coordinator.start()

    assert calls.get(timeout=WITHIN_S).count == 1
    assert coordinator.stop()


def test_nothing_of_it_is_left_after_stop_and_close(maker: Maker):
    coordinator = maker.coordinator()
    work, calls = noted()
    coordinator.every("1h")(work)
    coordinator.start()
    calls.get(timeout=WITHIN_S)

    coordinator.close()

    assert [one.name for one in threading.enumerate() if one.name.startswith("coord-")] == []


def test_what_cannot_be_run_is_refused_when_it_is_decorated(maker: Maker):
    coordinator = maker.coordinator()

    def two(one: object, another: object) -> None: ...

    def yields():
        yield

    def work() -> None: ...

    for wrong in (two, yields):
        with pytest.raises(TypeError, match=wrong.__name__):
            coordinator.every(1)(wrong)
    with pytest.raises(TypeError, match="maxcount"):
        coordinator.every(1, maxcount=3)(work)  # type: ignore[call-arg]
    for kind, options, key in (
        ("every", {"interval": 0}, "interval"),
        ("every", {"interval": "soon"}, "interval"),
        ("every", {"interval": 1, "max_count": 0}, "max_count"),
        ("every", {"interval": 1, "catch_up": "some"}, "catch_up"),
        ("every", {"interval": 1, "name": "a/b"}, "name"),
        ("every", {"interval": 1, "start_time": "2030-01-01", "end_time": PAST}, "end_time"),
        ("cron", {"line": "61 * * * *"}, "cron"),
        ("cron", {"line": "0 0 30 2 *"}, "never due"),
        ("cron", {"line": "@daily", "timezone": "Mars"}, "timezone"),
        ("once", {"at": "tomorrow"}, "at"),
    ):
        with pytest.raises(ConfigError, match=key):
            getattr(coordinator, kind)(**options)(work)
    with pytest.raises(UsageError, match="no schedule"):
        coordinator.start()
    coordinator.every(1)(work)
    with pytest.raises(UsageError, match="of this name"):
        coordinator.once(PAST)(work)

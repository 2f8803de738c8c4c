"""Promises of schedules in an event loop, kept by real ones and by fakes alike."""

from __future__ import annotations

import asyncio
import threading

import pytest

from coordinator import AsyncJobContext, ScheduleEndedError
from coordinator.errors import UsageError
from tests.conformance.api.conftest import GROUP, Maker
from tests.conformance.api.test_async_coordinators import run, taken_away

PAST = "2020-01-01T00:00:00Z"


def test_runs_are_made_in_the_loop_until_a_stop(maker: Maker):
    coordinator = maker.asynchronous()
    calls: asyncio.Queue[AsyncJobContext] = asyncio.Queue()

    @coordinator.every("1h")
    async def work(context: AsyncJobContext) -> None:
        context.token.check()
        await calls.put(context)

    async def body() -> None:
        await coordinator.start()
        context = await calls.get()
        with pytest.raises(UsageError, match="run already"):
            await coordinator.start()
        assert await coordinator.stop()
        assert (context.name, context.count, context.token.is_held()) == ("work", 1, False)

    run(maker, body())

    assert maker.record(f"{GROUP}/work") == (1, "ok", False)
    assert [one.name for one in threading.enumerate() if one.name.startswith("coord-")] == []


def test_run_returns_when_the_last_schedule_has_ended(maker: Maker):
    coordinator, counts = maker.asynchronous(), []

    @coordinator.every(0.05, max_count=2)
    async def work(context: AsyncJobContext) -> None:
        counts.append(context.count)

    @coordinator.once(PAST)
    async def without_arguments() -> None:
        counts.append(0)

    run(maker, coordinator.run())

    assert sorted(counts) == [0, 1, 2]


def test_a_failed_run_ends_the_schedule_and_its_error_is_one_of_the_coroutine(maker: Maker):
    coordinator = maker.asynchronous()

    @coordinator.once(PAST)
    async def work() -> None:
        raise TimeoutError("the coroutine's own")

    async def body() -> None:
        with pytest.raises(ScheduleEndedError, match="TimeoutError"):
            await coordinator.run()

    run(maker, body())

    assert maker.record(f"{GROUP}/work") == (1, "failed", True)


def test_a_run_that_outlasts_a_stop_is_cancelled(maker: Maker):
    coordinator, began = maker.asynchronous(), asyncio.Event()

    @coordinator.every("1h")
    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    async def body() -> None:
        await coordinator.start()
        await began.wait()
        assert await coordinator.stop(timeout=0.01)

    run(maker, body())

    assert maker.record(f"{GROUP}/work") == (1, "stopped", False)


def test_run_cancels_a_run_that_outlasts_a_stop(maker: Maker):
    coordinator = maker.asynchronous()
    stopping: list[asyncio.Future[bool]] = []

    @coordinator.every("1h")
    async def work() -> None:
        stopping.append(asyncio.ensure_future(coordinator.stop(timeout=60.0)))
        await asyncio.Event().wait()

    async def body() -> None:
        await coordinator.run(timeout=0.05)
        assert await stopping[0]

    run(maker, body())

    assert maker.record(f"{GROUP}/work") == (1, "stopped", False)


def test_a_cancellation_of_run_leaves_nothing(maker: Maker):
    coordinator, began = maker.asynchronous(), asyncio.Event()

    @coordinator.every("1h")
    async def work(context: AsyncJobContext) -> None:
        began.set()
        await context.stop_event.wait()

    async def body() -> None:
        running = asyncio.create_task(coordinator.run())
        await began.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with coordinator.token("work", wait=False) as token:
            assert token.term == 2

    run(maker, body())

    assert maker.record(f"{GROUP}/work") == (1, "ok", False)


def test_a_loss_tells_the_run_to_end_and_the_schedule_goes_on_under_a_new_term(maker: Maker):
    coordinator = maker.asynchronous()
    seen: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()

    @coordinator.every(0.05)
    async def work(context: AsyncJobContext) -> None:
        if context.count == 1:
            await taken_away(maker, context.token)
            await context.stop_event.wait()
        await seen.put((context.term, context.token.is_held()))

    async def body() -> None:
        await coordinator.start()
        assert await seen.get() == (1, False)
        assert await seen.get() == (2, True)
        await coordinator.stop()

    run(maker, body())


def test_a_plain_function_is_refused_when_it_is_decorated(maker: Maker):
    with pytest.raises(TypeError, match="no coroutine function"):
        maker.asynchronous().every(1)(lambda: None)  # type: ignore[arg-type]

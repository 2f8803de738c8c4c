"""Runs of an AsyncCoordinator's schedules: coroutine functions, in its event loop.

The loop of each schedule waits in a thread of its own; no thread of the event loop's executor is
used.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from coordinator.app.api.asynchronous.context import AsyncJobContext
from coordinator.app.api.asynchronous.token import AsyncToken
from coordinator.app.api.schedules.definition import Definition
from coordinator.app.api.schedules.service import Schedules
from coordinator.app.api.schedules.signals import TAKEN, Pressed
from coordinator.runtime.holders.holding import Holding
from coordinator.runtime.schedule.jobs import (
    RunContext,
    RunFailedError,
    RunStoppedError,
    wants_context,
)
from coordinator.runtime.schedule.stop_signal import StopSignal

#: Interval at which a run looks whether its event loop was thrown away under it.
LOOK_S = 1.0
#: Time for runs that were cancelled, because their time to end was over.
CANCELLED_S = 1.0


class LoopRuns:
    """Calls coroutine functions in an event loop, and knows which of them run."""

    def __init__(
        self,
        group: str,
        loop: asyncio.AbstractEventLoop,
        token_of: Callable[[Holding], AsyncToken],
    ) -> None:
        self._group, self._loop, self._token_of = group, loop, token_of
        self._running: set[concurrent.futures.Future[None]] = set()

    def __call__(
        self, definition: Definition, holding: Holding, told: StopSignal, run: RunContext
    ) -> None:
        """Run one coroutine to its end (called by the schedule's thread).

        Errors: those of the coroutine; RunStoppedError when it was cancelled, or its loop ended.
        """
        body = self._body(definition, holding, told, run)
        try:
            future = asyncio.run_coroutine_threadsafe(body, self._loop)
        except RuntimeError as error:
            body.close()
            raise RunStoppedError(f"the event loop has ended: {error}") from error
        self._running.add(future)
        try:
            self._wait(future)
        finally:
            self._running.discard(future)

    def cancel(self) -> None:
        """Cancel what runs (called in the event loop)."""
        for future in tuple(self._running):
            future.cancel()

    def _wait(self, future: concurrent.futures.Future[None]) -> None:
        while True:
            try:
                future.result(LOOK_S)
            except concurrent.futures.CancelledError as error:
                raise RunStoppedError("the run was cancelled") from error
            except TimeoutError:
                if future.done():
                    raise  # the coroutine's own
                if self._loop.is_closed():
                    raise RunStoppedError("the event loop has ended") from None
            except (SystemExit, KeyboardInterrupt) as error:
                # It ends the loop, and must not end this thread before its runs.
                raise RunFailedError(repr(error), type(error).__name__) from error
            else:
                return

    async def _body(
        self, definition: Definition, holding: Holding, told: StopSignal, run: RunContext
    ) -> None:
        assert run.scheduled_at is not None, "only slots are run"
        stop_event = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(stop_event.set)

        with told.calling(tell):
            context = AsyncJobContext(
                group=self._group,
                name=definition.name,
                node=run.node,
                term=run.term,
                session=run.session,
                scheduled_at=run.scheduled_at,
                count=run.count,
                token=self._token_of(holding),
                stop_event=stop_event,
            )
            function = definition.function
            await (function(context) if wants_context(function) else function())  # type: ignore[misc]


async def stop_in_loop(schedules: Schedules, runs: LoopRuns | None, timeout_s: float) -> bool:
    """Stop, wait for runs that are going on, and then cancel them; false when one still goes on."""
    schedules.tell_stop()
    if not await _ended(schedules, timeout_s) and runs is not None:
        runs.cancel()
        await _ended(schedules, CANCELLED_S)
    return schedules.stop(0.1)


async def run_in_loop(schedules: Schedules, runs: LoopRuns, timeout_s: float) -> None:
    """Run the schedules until a signal, a stop, a cancellation, or the end of the last one.

    Errors: as `Schedules.raise_outcome`; KeyboardInterrupt at a second INT.
    """
    schedules.start(runs)
    try:
        async with _signals(schedules) as interrupted:
            ended = asyncio.ensure_future(_ended(schedules, None))
            told = asyncio.ensure_future(_told(schedules))
            first = asyncio.FIRST_COMPLETED
            try:
                await asyncio.wait((ended, interrupted, told), return_when=first)
                if not ended.done():
                    await asyncio.wait((ended, interrupted), timeout=timeout_s, return_when=first)
                if not ended.done():
                    timeout_s = 0.0
                if interrupted.done():
                    raise KeyboardInterrupt
            finally:
                ended.cancel()
                told.cancel()
        schedules.raise_outcome()
    finally:
        await stop_in_loop(schedules, runs, timeout_s)


async def _told(schedules: Schedules) -> None:
    """Wait until the schedules are told to stop."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(told.set)

    with schedules.calling_at_stop(tell):
        await told.wait()


async def _ended(schedules: Schedules, timeout_s: float | None) -> bool:
    """Wait until no thread of the schedules is left; false when the time is over."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(over.set)

    schedules.on_end(tell)
    try:
        await asyncio.wait_for(over.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _signals(schedules: Schedules) -> AsyncIterator[asyncio.Future[None]]:
    """Take the signals in the main thread's loop; the future is done at a second INT."""
    loop = asyncio.get_running_loop()
    interrupted: asyncio.Future[None] = loop.create_future()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    pressed = Pressed(schedules)

    def take(signum: int) -> None:
        if pressed.take(signum) and not interrupted.done():
            interrupted.set_result(None)

    before = {each: signal.getsignal(each) for each in TAKEN}
    for each in TAKEN:
        loop.add_signal_handler(each, take, each)
    try:
        yield interrupted
    finally:
        for signum, handler in before.items():
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)

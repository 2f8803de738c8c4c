"""AsyncCoordinator: tokens for the tasks of an event loop; no thread of an executor is used.

    from coordinator import AsyncCoordinator

    async with AsyncCoordinator(group_id="orders", database_url="postgresql://...") as coordinator:
        async with coordinator.token("nightly", timeout=30) as token:
            token.check()              # raises TokenLostError once trust is over
            await do_some(token.term)

A task that is cancelled, at whatever moment, holds nothing afterwards. What `Coordinator` does not
guarantee is not guaranteed here either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from coordinator.app.api.asynchronous.block import AsyncCancel, AsyncTokenBlock, TaskTokens
from coordinator.app.api.asynchronous.own_thread import in_own_thread
from coordinator.app.api.asynchronous.token import AsyncToken
from coordinator.app.api.exclusive import exclusive_coroutine
from coordinator.app.api.session import CLOSE_S, Session, end_with, session_of, warn_if_open
from coordinator.app.api.setup import (
    STOP_S,
    Seconds,
    Setup,
    seconds,
    setup_from_config,
    setup_of,
    url_of_engine,
    wait_s,
)
from coordinator.app.api.wait import TaskWait
from coordinator.runtime.holders.holding import Holding

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from coordinator.app.api.asynchronous.runs import LoopRuns
    from coordinator.app.api.schedules.definition import CoroutineF, JobOptions, Moment
    from coordinator.app.api.schedules.holder import Tokens
    from coordinator.app.api.schedules.service import Schedules

P = ParamSpec("P")
R = TypeVar("R")


class AsyncCoordinator:
    """Tokens of one group, for any number of tasks of one event loop; see `Coordinator`.

    The arguments and their errors are those of `Coordinator`. `close` ends what was opened; an
    `async with` block around a coordinator does so at its end.
    """

    def __init__(
        self,
        *,
        group_id: str,
        database_url: str,
        task_id: str | None = None,
        schema: str | None = None,
        heartbeat_frequency: Seconds = 1.0,
        liveness_check_interval: Seconds = 30.0,
    ) -> None:
        self._begin(
            setup_of(
                group_id=group_id,
                database_url=database_url,
                task_id=task_id,
                schema=schema,
                heartbeat_frequency=heartbeat_frequency,
                liveness_check_interval=liveness_check_interval,
            )
        )

    @classmethod
    def from_config(cls, path: str | None = None) -> AsyncCoordinator:
        """Make a coordinator from Config.toml, the environment and the defaults.

        Errors: ConfigError with every problem of the file.
        """
        made = cls.__new__(cls)
        made._begin(setup_from_config(path))
        return made

    @classmethod
    def from_engine(
        cls,
        engine: Engine | AsyncEngine,
        *,
        group_id: str,
        task_id: str | None = None,
        schema: str | None = None,
        heartbeat_frequency: Seconds = 1.0,
        liveness_check_interval: Seconds = 30.0,
    ) -> AsyncCoordinator:
        """Make a coordinator for the database of an SQLAlchemy engine; see `Coordinator`."""
        return cls(
            group_id=group_id,
            database_url=url_of_engine(engine),
            task_id=task_id,
            schema=schema,
            heartbeat_frequency=heartbeat_frequency,
            liveness_check_interval=liveness_check_interval,
        )

    @property
    def group_id(self) -> str:
        """The group whose tokens are held."""
        return self._setup.group

    def token(
        self,
        name: str | None = None,
        *,
        timeout: Seconds | None = None,
        wait: bool = True,
        reentrant: bool = False,
        cancel: AsyncCancel | None = None,
    ) -> AbstractAsyncContextManager[AsyncToken]:
        """Hold the group's token, or the token `name` of the group, for a block.

        A token that a block of this process holds is waited for like one of another process.

        timeout: seconds to wait for it; None waits for ever.
        wait: False does not wait for a token that somebody holds.
        reentrant: a block inside a block of the same task shares its holding instead.
        cancel: "task" cancels the task when the token is lost, and the block raises TokenLostError
            in the place of that cancellation. A body that catches CancelledError, or that does not
            await, goes on.
        Errors: as `Coordinator.token`.
        """
        full, limit_s = self._setup.token_name(name), wait_s(timeout, wait=wait)
        return AsyncTokenBlock(
            full,
            lambda: self._held(full, limit_s),
            self._tokens,
            reentrant=reentrant,
            cancel=cancel,
        )

    #: The same, for code that is active rather than holds a lock.
    active = token

    def exclusive(
        self, name: str | None = None, *, timeout: Seconds | None = None, wait: bool = True
    ) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
        """Decorate a coroutine function: its body runs while this call holds the token.

        Errors: TypeError for every other function, when it is decorated.
        """
        full, limit_s = self._setup.token_name(name), wait_s(timeout, wait=wait)

        def decorate(
            function: Callable[P, Coroutine[Any, Any, R]],
        ) -> Callable[P, Coroutine[Any, Any, R]]:
            return exclusive_coroutine(function, lambda: self._held(full, limit_s))

        return decorate

    def every(
        self, interval: Seconds, **options: Unpack[JobOptions]
    ) -> Callable[[CoroutineF], CoroutineF]:
        """Decorate a coroutine function that runs again and again, while its token is held here.

        It is called with an `AsyncJobContext`, or without arguments, in the event loop in which
        `start` or `run` was called. Otherwise as `Coordinator.every`.
        """
        from coordinator.app.api.schedules import definition

        return self._scheduled(definition.every(interval), options)

    def cron(
        self, line: str, *, timezone: str = "UTC", **options: Unpack[JobOptions]
    ) -> Callable[[CoroutineF], CoroutineF]:
        """Decorate a coroutine function that runs by a cron line of five fields, as `every`."""
        from coordinator.app.api.schedules import definition

        return self._scheduled(definition.cron(line, timezone), options)

    def once(self, at: Moment, **options: Unpack[JobOptions]) -> Callable[[CoroutineF], CoroutineF]:
        """Decorate a coroutine function that runs once in the group, at a moment, as `every`."""
        from coordinator.app.api.schedules import definition

        return self._scheduled(definition.once(at), options)

    async def start(self) -> None:
        """Start the schedules in this event loop, and return.

        Errors: UsageError when they run already, or there are none.
        """
        self._runs = self._new_runs()
        self._jobs().start(self._runs)

    async def stop(self, timeout: Seconds = STOP_S) -> bool:
        """Stop the schedules; runs that go on for longer than `timeout` seconds are cancelled.

        False: one catches its cancellation and goes on; its token is given back when it ends.
        """
        if self._schedules is None:
            return True
        from coordinator.app.api.asynchronous.runs import stop_in_loop

        return await stop_in_loop(self._schedules, self._runs, seconds("timeout", timeout))

    async def run(self, timeout: Seconds = STOP_S) -> None:
        """Run the schedules until the process is told to stop, or the last of them has ended.

        Signals and errors are those of `Coordinator.run`; a cancellation stops, too.
        """
        from coordinator.app.api.asynchronous.runs import run_in_loop

        await run_in_loop(self._jobs(), self._new_runs(), seconds("timeout", timeout))

    async def close(self) -> None:
        """End the schedules, the session and its threads; waiting callers get a CoordError.

        Blocks that still run are waited for, for 5 s; see `Coordinator.close`.
        """
        await self.stop(CLOSE_S)
        await asyncio.shield(in_own_thread("coord-close", self._session.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __del__(self) -> None:
        warn_if_open(self, getattr(self, "_session", None))

    #: Made by the first decorator: who defines no schedule loads nothing of them.
    _schedules: Schedules | None = None
    _runs: LoopRuns | None = None

    def _jobs(self) -> Schedules:
        if self._schedules is None:
            from coordinator.app.api.schedules.service import schedules_of

            self._schedules = schedules_of(self, self._setup, self._job_tokens())
        return self._schedules

    def _scheduled(
        self, kind: dict[str, object], options: JobOptions
    ) -> Callable[[CoroutineF], CoroutineF]:
        from coordinator.app.api.schedules.service import decorator

        return decorator(self._jobs(), kind, options, coroutine=True)

    def _job_tokens(self) -> Callable[[], Tokens]:
        """Return what makes the tokens of schedules; it must not refer to this coordinator."""
        from coordinator.app.api.schedules.database import SessionTokens

        session, setup = self._session, self._setup
        return lambda: SessionTokens(session, setup)

    def _held(self, full: str, limit_s: float | None) -> AbstractAsyncContextManager[AsyncToken]:
        return held_async(self._session, self._setup, full, limit_s)

    def _new_runs(self) -> LoopRuns:
        from coordinator.app.api.asynchronous.runs import LoopRuns

        return LoopRuns(self.group_id, asyncio.get_running_loop(), self._token_maker())

    def _token_maker(self) -> Callable[[Holding], AsyncToken]:
        setup = self._setup
        return lambda holding: AsyncToken(holding, setup.conninfo, setup.schema)

    def _begin(self, setup: Setup) -> None:
        self._setup = setup
        self._tokens = TaskTokens()
        self._session = session_of(setup)
        end_with(self, self._session)


@asynccontextmanager
async def held_async(
    session: Session, setup: Setup, full: str, limit_s: float | None
) -> AsyncIterator[AsyncToken]:
    """Hold a token for the body of an `async with`."""
    wait = TaskWait()
    may_wait = True
    try:
        session.ask(wait, full, limit_s)
        holding = await wait.wait()
        yield AsyncToken(holding, setup.conninfo, setup.schema)
        holding.check()
    except GeneratorExit:
        may_wait = False  # the task was discarded: there is no loop to wait in
        raise
    finally:
        if session.give_up(wait) and may_wait:
            await wait.wait_for_release()

"""Coordinator: tokens for the threads of a process.

    from coordinator import Coordinator

    coordinator = Coordinator(group_id="orders", database_url="postgresql://...")
    with coordinator.token("nightly", timeout=30) as token:
        while work_left():
            token.check()              # raises TokenLostError once trust is over
            do_some(token.term)

What this does not guarantee: nothing can stop your code when the token is lost. A thread that is
paused between `check` and a write may write late. Use `token.transaction()` for writes to the same
database; make every other system that you write to reject a lower `token.term`; or let `coord run`
guard a process, which it can kill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar, Unpack

from coordinator.app.api.asynchronous.coordinator import held_async
from coordinator.app.api.block import Cancel, ThreadTokens, TokenBlock
from coordinator.app.api.exclusive import exclusive
from coordinator.app.api.main_thread import raise_what_waited
from coordinator.app.api.session import CLOSE_S, end_with, session_of, warn_if_open
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
from coordinator.app.api.token import Token
from coordinator.app.api.wait import ThreadWait
from coordinator.runtime.holders.holding import Holding

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from coordinator.app.api.schedules.definition import F, JobOptions, Moment
    from coordinator.app.api.schedules.holder import Call, Tokens
    from coordinator.app.api.schedules.service import Schedules

P = ParamSpec("P")
R = TypeVar("R")


class Coordinator:
    """Tokens of one group, for any number of threads of this process.

    Nothing is opened before the first token is asked for. `close` ends what was opened; a `with`
    block around a coordinator does so at its end. A coordinator may be inherited by a fork and
    pickled to a spawned process: there it is a coordinator of its own, which holds nothing.

    group_id: the group whose tokens are held.
    database_url: the database, as a URL or as a DSN ("host=... dbname=...").
    task_id: the first part of the name of each process; the machine's name when it is not given.
    Units: heartbeat_frequency, liveness_check_interval in seconds, or texts such as "6s", as in
    Config.toml.
    Errors: ConfigError for a malformed value; TimingError for intervals that cannot keep the
    guarantees.
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
    def from_config(cls, path: str | None = None) -> Coordinator:
        """Make a coordinator from Config.toml, the environment and the defaults.

        Errors: ConfigError with every problem of the file.
        """
        made = cls.__new__(cls)
        made._begin(setup_from_config(path))
        return made

    @classmethod
    def from_engine(
        cls,
        engine: Engine,
        *,
        group_id: str,
        task_id: str | None = None,
        schema: str | None = None,
        heartbeat_frequency: Seconds = 1.0,
        liveness_check_interval: Seconds = 30.0,
    ) -> Coordinator:
        """Make a coordinator for the database of an SQLAlchemy engine.

        The engine's URL alone is used: coord opens a connection of its own.
        Errors: as the constructor; ConfigError when the engine is not one for PostgreSQL.
        """
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
        cancel: Cancel | None = None,
    ) -> AbstractContextManager[Token]:
        """Hold the group's token, or the token `name` of the group, for the body of a `with`.

        A token that a block of this process holds is waited for like one of another process.

        timeout: seconds to wait for it; None waits for ever. While the database does not answer,
            it may be 5 s more.
        wait: False does not wait for a token that somebody holds.
        reentrant: a block inside a block of the same thread shares its holding instead.
        cancel: "main-thread" raises TokenLostError in the body when the token is lost. The body
            must run in the main thread. It is raised between two of its bytecodes, and interrupts a
            blocking call that a signal can interrupt; code that holds on in C, or that catches
            Exception, goes on.
        Errors: ConfigError for a malformed name; TokenHeldError when it could not be had in time;
        CoordError when the database refuses; TokenLostError at the end of the body when the token
        was lost meanwhile; UsageError when `cancel` is used outside the main thread.
        """
        full, limit_s = self._setup.token_name(name), wait_s(timeout, wait=wait)
        return TokenBlock(
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
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function or coroutine function: its body runs while this call holds the token.

        Errors: TypeError for generator functions, when they are decorated.
        """
        full, limit_s = self._setup.token_name(name), wait_s(timeout, wait=wait)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            return exclusive(
                function,
                lambda: self._held(full, limit_s),
                lambda: self._held_async(full, limit_s),
            )

        return decorate

    def every(self, interval: Seconds, **options: Unpack[JobOptions]) -> Callable[[F], F]:
        """Decorate a function that runs again and again, while this process holds its token.

        It is called with a `JobContext`, or without arguments, in a thread, once `start` or `run`
        was called. The token is the function's own ("GROUP/NAME"), so of all processes that define
        it one runs it. Options, record and rules are those of docs/schedules.md; see `JobOptions`.
        Errors: TypeError for a function that cannot be called so, and for an unknown option;
        ConfigError for a malformed value; UsageError for a second function of a name.
        """
        from coordinator.app.api.schedules import definition

        return self._scheduled(definition.every(interval), options)

    def cron(
        self, line: str, *, timezone: str = "UTC", **options: Unpack[JobOptions]
    ) -> Callable[[F], F]:
        """Decorate a function that runs by a cron line of five fields, as `every`."""
        from coordinator.app.api.schedules import definition

        return self._scheduled(definition.cron(line, timezone), options)

    def once(self, at: Moment, **options: Unpack[JobOptions]) -> Callable[[F], F]:
        """Decorate a function that runs once in the whole group, at a moment, as `every`."""
        from coordinator.app.api.schedules import definition

        return self._scheduled(definition.once(at), options)

    def start(self) -> None:
        """Start the threads of all schedules, and return.

        Errors: UsageError when they run already, or there are none.
        """
        self._jobs().start(self._call())

    def stop(self, timeout: Seconds = STOP_S) -> bool:
        """Stop the schedules; wait for runs that are going on, for `timeout` seconds at most.

        No thread and no connection of the schedules is left. False: a run goes on for longer, as
        no thread can be ended; its token is given back when it ends. `start` may be called again.
        """
        return self._schedules is None or self._schedules.stop(seconds("timeout", timeout))

    def run(self, timeout: Seconds = STOP_S) -> None:
        """Run the schedules until the process is told to stop, or the last of them has ended.

        In the main thread it takes the signals that `coord run` takes: TERM and INT stop, after the
        runs that are going on (`timeout` seconds at most); a second INT raises KeyboardInterrupt at
        once; USR1 gives the tokens back and leaves them to others for one livenessCheckInterval;
        USR2 logs the state, QUIT writes the stacks.
        Errors: UsageError as `start`; ScheduleEndedError when the last schedules have ended, one of
        them by its error policy; CoordError when the database refuses.
        """
        from coordinator.app.api.schedules.in_threads import run_here

        run_here(self._jobs(), self._call(), seconds("timeout", timeout))

    def close(self) -> None:
        """End the schedules, the session and its threads; waiting callers get a CoordError.

        Blocks that still run are waited for, for 5 s. The tokens of those that run on are not given
        back: their session ends by its silence. The coordinator cannot be used afterwards.
        """
        self.stop(CLOSE_S)
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        warn_if_open(self, getattr(self, "_session", None))

    #: Made by the first decorator: who defines no schedule loads nothing of them.
    _schedules: Schedules | None = None

    def _jobs(self) -> Schedules:
        if self._schedules is None:
            from coordinator.app.api.schedules.service import schedules_of

            self._schedules = schedules_of(self, self._setup, self._job_tokens())
        return self._schedules

    def _scheduled(self, kind: dict[str, object], options: JobOptions) -> Callable[[F], F]:
        from coordinator.app.api.schedules.service import decorator

        return decorator(self._jobs(), kind, options, coroutine=False)

    def _job_tokens(self) -> Callable[[], Tokens]:
        """Return what makes the tokens of schedules; it must not refer to this coordinator."""
        from coordinator.app.api.schedules.database import SessionTokens

        session, setup = self._session, self._setup
        return lambda: SessionTokens(session, setup)

    def _call(self) -> Call:
        from coordinator.app.api.schedules.in_threads import in_threads

        return in_threads(self.group_id, self._token_maker())

    def _token_maker(self) -> Callable[[Holding], Token]:
        setup = self._setup
        return lambda holding: Token(holding, setup.conninfo, setup.schema)

    def _begin(self, setup: Setup) -> None:
        self._setup = setup
        self._tokens = ThreadTokens()
        self._session = session_of(setup)
        end_with(self, self._session)

    @contextmanager
    def _held(self, full: str, limit_s: float | None) -> Iterator[Token]:
        session, wait = self._session, ThreadWait()
        try:
            session.ask(wait, full, limit_s)
            holding = wait.wait()
            yield self._token_maker()(holding)
            holding.check()
        finally:
            if session.give_up(wait):
                wait.wait_for_release()
            raise_what_waited()

    def _held_async(self, full: str, limit_s: float | None) -> AbstractAsyncContextManager[object]:
        return held_async(self._session, self._setup, full, limit_s)

    def __reduce__(self) -> tuple[Callable[[Setup], Coordinator], tuple[Setup]]:
        return _unpickled, (self._setup,)


def _unpickled(setup: Setup) -> Coordinator:
    """Return a coordinator of this process, with the setup of another process's."""
    made = Coordinator.__new__(Coordinator)
    made._begin(setup)
    return made

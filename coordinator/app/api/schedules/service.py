"""Schedules of one coordinator: defined by decorators, started and stopped together."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from coordinator.app.api.schedules.definition import Definition, F, JobOptions, define
from coordinator.app.api.schedules.holder import Call, Tokens, TokenThread, Work
from coordinator.app.api.setup import Setup
from coordinator.errors import CoordError, ScheduleEndedError, UsageError
from coordinator.runtime.holders.holding import LOGGER
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.stop_signal import StopSignal

_logger = logging.getLogger(LOGGER)


@dataclass
class _Started:
    """Threads between a start and the end of the last of them."""

    tokens: Tokens
    stop: StopSignal = field(default_factory=StopSignal)
    threads: list[TokenThread] = field(default_factory=list)
    left: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    callbacks: list[Callable[[], None]] = field(default_factory=list)


class Schedules:
    """Schedules of a coordinator in this process; a forked child has the definitions alone."""

    def __init__(self, setup: Setup, tokens: Callable[[], Tokens]) -> None:
        """tokens: made anew for each start: a forked child must not have its parent's."""
        self._setup, self._tokens = setup, tokens
        self._definitions: dict[str, Definition] = {}
        self._started: _Started | None = None
        self._begin_anew()

    def add(self, definition: Definition) -> None:
        """Take a definition in.

        Errors: UsageError for a second one of a name, and while the schedules run.
        """
        if self._runs():
            raise UsageError(f"{definition.name}: define schedules before start() or run()")
        if definition.name in self._definitions:
            raise UsageError(
                f"{definition.name}: there is a schedule of this name: give it another"
            )
        self._definitions[definition.name] = definition

    def start(self, call: Call) -> None:
        """Start a thread for each token that a schedule needs, and return.

        Errors: UsageError when they run already, or there are none; CoordError when a thread cannot
        be started: those that were are told to stop.
        """
        if not self._definitions:
            raise UsageError("no schedule is defined: decorate a function with every, cron or once")
        self._present()
        with self._lock:
            if self._runs():
                raise UsageError("the schedules run already")
            started = self._started = _Started(self._tokens())
            self._make_threads(started, call)
        for place, thread in enumerate(started.threads):
            try:
                thread.thread.start()
            except RuntimeError as error:
                started.stop.set()
                never = started.threads[place:]
                del started.threads[place:]
                for _ in never:
                    self._note_end(started)
                raise CoordError(f"the schedules cannot be started: {error}") from error

    def _make_threads(self, started: _Started, call: Call) -> None:
        """Make a thread for each token."""
        work = Work(
            tokens=started.tokens,
            call=call,
            timing=self._setup.timing,
            stop=started.stop,
            started_at=BoottimeClock().now(),
        )
        by_token: dict[str, list[Definition]] = {}
        for each in self._definitions.values():
            token = self._setup.token_name(None if each.group_token else each.name)
            by_token.setdefault(token, []).append(each)
        for token, definitions in by_token.items():
            thread = TokenThread(work, token, definitions, lambda: self._note_end(started))
            started.threads.append(thread)
        started.left = len(started.threads)

    def tell_stop(self) -> None:
        """Begin no further run, and tell those that are going on; never blocks."""
        started = self._present()
        if started is not None:
            started.stop.set()

    def stop(self, timeout_s: float) -> bool:
        """Stop, and wait for runs that are going on; false when one goes on for longer.

        The token of such a run is given back when it ends.
        """
        started = self._present()
        if started is None:
            return True
        started.stop.set()
        clock = BoottimeClock()
        deadline = clock.now() + timeout_s
        for each in started.threads:
            if not each.is_current():
                each.thread.join(max(0.0, deadline - clock.now()))
        running = [each.describe() for each in started.threads if each.thread.is_alive()]
        if running:
            _logger.warning("still running, and no longer waited for: %s", "; ".join(running))
            return False
        with self._lock:
            if self._started is started:
                self._started = None
        return True

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back once no thread is left; at once when there is none. It must not block."""
        started = self._present()
        if started is None:
            callback()
            return
        with self._lock:
            if not started.over.is_set():
                started.callbacks.append(callback)
                return
        callback()

    @contextmanager
    def calling_at_stop(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call back when the schedules are told to stop; it must not block."""
        started = self._present()
        with started.stop.calling(callback) if started else nullcontext():
            yield

    def raise_outcome(self) -> None:
        """Raise what a caller of `run` has to know of schedules that ended by themselves.

        Errors: CoordError of a schedule that could not go on; ScheduleEndedError when an error
        policy has ended one.
        """
        started = self._present()
        if started is None:
            return
        for each in started.threads:
            if each.failure is not None:
                raise each.failure
        terminated = [reason for each in started.threads for reason in each.terminated]
        if terminated and not started.stop.event.is_set():
            raise ScheduleEndedError("; ".join(terminated))

    def resign(self) -> None:
        """Give all tokens of schedules back, and leave them to others for a while."""
        started = self._present()
        for each in started.threads if started else ():
            each.resign()

    def describe(self) -> str:
        """Return what the schedules do at present, as one line."""
        started = self._present()
        return "; ".join(each.describe() for each in started.threads) if started else "stopped"

    def _note_end(self, started: _Started) -> None:
        """Note that a thread ends; the last one leaves nothing behind."""
        with self._lock:
            started.left -= 1
            if started.left:
                return
        started.tokens.close()
        with self._lock:
            started.over.set()
        for callback in started.callbacks:
            callback()

    def _runs(self) -> bool:
        """Say whether a schedule that this process has started is left."""
        started = self._present()
        return started is not None and not started.over.is_set()

    def _present(self) -> _Started | None:
        """Return what this process has started."""
        if os.getpid() != self._pid:
            self._begin_anew()
        return self._started

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._started = None


def schedules_of(owner: object, setup: Setup, tokens: Callable[[], Tokens]) -> Schedules:
    """Return schedules that are told to stop when their owner is discarded."""
    made = Schedules(setup, tokens)
    weakref.finalize(owner, made.tell_stop)
    return made


def decorator(
    schedules: Schedules, kind: dict[str, Any], options: JobOptions, *, coroutine: bool
) -> Callable[[F], F]:
    """Return the decorator that defines a schedule, and returns the function as it is."""

    def decorate(function: F) -> F:
        schedules.add(define(function, kind, options, coroutine=coroutine))
        return function

    return decorate

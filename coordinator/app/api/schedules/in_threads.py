"""Runs of a Coordinator's schedules: plain functions, in threads."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.app.api.schedules.context import JobContext
from coordinator.app.api.schedules.definition import Definition
from coordinator.app.api.schedules.holder import Call
from coordinator.app.api.schedules.service import Schedules
from coordinator.app.api.schedules.signals import wait_for_end
from coordinator.app.api.token import Token
from coordinator.runtime.holders.holding import Holding
from coordinator.runtime.schedule.jobs import RunContext, RunFailedError, function_job
from coordinator.runtime.schedule.stop_signal import StopSignal


def in_threads(group: str, token_of: Callable[[Holding], Token]) -> Call:
    """Return the call of a function in the thread of its schedule.

    A coroutine function gets an event loop of its own for each run. No run has the main thread, so
    a KeyboardInterrupt in one is its own, and ends this run alone.
    """

    def call(definition: Definition, holding: Holding, told: StopSignal, run: RunContext) -> None:
        assert run.scheduled_at is not None, "only slots are run"
        context = JobContext(
            group=group,
            name=definition.name,
            node=run.node,
            term=run.term,
            session=run.session,
            scheduled_at=run.scheduled_at,
            count=run.count,
            token=token_of(holding),
            stop_event=told.event,
        )
        try:
            function_job(definition.function)(context)
        except KeyboardInterrupt as error:
            raise RunFailedError("KeyboardInterrupt", "KeyboardInterrupt") from error

    return call


def run_here(schedules: Schedules, call: Call, timeout_s: float) -> None:
    """Run the schedules until a signal, a stop, or the end of the last one.

    timeout_s: time for runs that are going on at a signal or a stop.
    Errors: as `Schedules.raise_outcome`; KeyboardInterrupt at a second INT.
    """
    schedules.start(call)
    try:
        if not wait_for_end(schedules, timeout_s):
            timeout_s = 0.0
        schedules.raise_outcome()
    except KeyboardInterrupt:
        timeout_s = 0.0
        raise
    finally:
        schedules.stop(timeout_s)

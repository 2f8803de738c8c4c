"""Consequences of a failed run: retries, and after them the error policy.

The decisions are values; only `attempts` starts anything or waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import tenacity

from coordinator.errors import TokenLostError
from coordinator.protocol.messages.schedule import ErrorPolicy, Retry, WaitingPolicy
from coordinator.runtime.schedule.jobs import RunStoppedError
from coordinator.runtime.schedule.trust_board import Trust

#: Number of runs that may wait for the current one. A program that is so far behind will not catch
#: up by itself; further runs are skipped with a warning.
QUEUE_MAX = 1000


@dataclass(frozen=True, slots=True)
class AfterError:
    """Effect of an error policy after a run that failed for good."""

    log: bool
    terminate: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Effect of a waiting policy on a slot that comes during a run."""

    ignore: bool  #: the slot is skipped; else it is run afterwards
    log: bool  #: a skipped slot is logged


def after_error(policy: ErrorPolicy) -> AfterError:
    """Return the effect of a failed run."""
    match policy:
        case "LOG_AND_TERMINATE":
            return AfterError(log=True, terminate=True)
        case "LOG_AND_CONTINUE":
            return AfterError(log=True, terminate=False)
        case "TERMINATE":
            return AfterError(log=False, terminate=True)
        case "CONTINUE":
            return AfterError(log=False, terminate=False)
        case _:
            assert_never(policy)


def waiting(policy: WaitingPolicy) -> Waiting:
    """Return the effect on a slot that comes during a run."""
    match policy:
        case "WAIT":
            return Waiting(ignore=False, log=True)
        case "IGNORE":
            return Waiting(ignore=True, log=False)
        case "LOG_AND_IGNORE":
            return Waiting(ignore=True, log=True)
        case _:
            assert_never(policy)


def waits(retry: Retry) -> tenacity.wait.wait_base:
    """Return the pauses between attempts: r, r, r or r, 2r, 4r, up to the longest."""
    if retry.backoff == "FIXED":
        return tenacity.wait_fixed(retry.retry_interval_s)
    if retry.max_interval_s is None:
        return tenacity.wait_exponential(multiplier=retry.retry_interval_s)
    return tenacity.wait_exponential(multiplier=retry.retry_interval_s, max=retry.max_interval_s)


def stops(retry: Retry | None, limit_s: float | None) -> tenacity.stop.stop_base:
    """Return when to give up: after the last attempt, or when the next would start too late.

    limit_s is the time to the next slot: a retry must not overlap the next run.
    """
    by_count = tenacity.stop_after_attempt(1 + (retry.max_attempts if retry else 0))
    return by_count if limit_s is None else by_count | tenacity.stop_before_delay(limit_s)


def attempts(
    attempt: Callable[[], object],
    *,
    retry: Retry | None,
    limit_s: float | None,
    trust: Trust,
    stop: threading.Event,
    on_retry: Callable[[int, BaseException, float], None],
) -> None:
    """Make a run, and repeat it as `retry` allows; return when an attempt succeeded.

    on_retry gets the number of the attempt that failed, its error and the pause in seconds.
    Errors: those of the last attempt; TokenLostError when trust ended before an attempt,
    RunStoppedError when `stop` was set before one.
    """

    def guarded() -> None:
        trust.check()
        if stop.is_set():
            raise RunStoppedError("stopped before the run was made, or made again")
        attempt()

    def told(state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None, "tenacity pauses only after an attempt"
        error = state.outcome.exception()
        assert error is not None, "a successful attempt is not repeated"
        on_retry(state.attempt_number, error, state.upcoming_sleep)

    tenacity.Retrying(
        stop=stops(retry, limit_s),
        wait=waits(retry or Retry()),
        retry=tenacity.retry_if_exception(_may_retry),
        sleep=tenacity.sleep_using_event(stop),
        before_sleep=told,
        reraise=True,
    )(guarded)


def _may_retry(error: BaseException) -> bool:
    """Say whether an error is a failure of the run; an interrupt, a stop or a lost token is not."""
    return isinstance(error, Exception) and not isinstance(error, TokenLostError | RunStoppedError)

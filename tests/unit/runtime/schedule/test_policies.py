"""W6: what follows from a failed run."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from coordinator.errors import TokenLostError
from coordinator.protocol.messages.schedule import ErrorPolicy, Retry, WaitingPolicy
from coordinator.runtime.schedule.jobs import RunStoppedError
from coordinator.runtime.schedule.policies import (
    AfterError,
    Waiting,
    after_error,
    attempts,
    waiting,
)
from tests.support.fakes.schedules import MovableTrust


class Pauses(threading.Event):
    """A stop event on which nobody waits for long; it notes for how long they would have."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._then = then

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        self._then()
        return self.is_set()


class Failing:
    """A run that fails so many times, and counts how often it was made."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.made, self._times, self._error = 0, times, error or ValueError("no luck")

    def __call__(self) -> None:
        self.made += 1
        if self.made <= self._times:
            raise self._error


def make(
    run: Callable[[], None],
    stop: threading.Event,
    retry: Retry | None,
    *,
    limit_s: float | None = None,
    trust: MovableTrust | None = None,
) -> None:
    attempts(
        run,
        retry=retry,
        limit_s=limit_s,
        trust=trust or MovableTrust(),
        stop=stop,
        on_retry=lambda *_: None,
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("LOG_AND_TERMINATE", AfterError(log=True, terminate=True)),
        ("LOG_AND_CONTINUE", AfterError(log=True, terminate=False)),
        ("TERMINATE", AfterError(log=False, terminate=True)),
        ("CONTINUE", AfterError(log=False, terminate=False)),
    ],
)
def test_error_policy_says_whether_to_log_and_to_go_on(
    policy: ErrorPolicy, expected: AfterError
) -> None:
    assert after_error(policy) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("WAIT", Waiting(ignore=False, log=True)),
        ("IGNORE", Waiting(ignore=True, log=False)),
        ("LOG_AND_IGNORE", Waiting(ignore=True, log=True)),
    ],
)
def test_waiting_policy_says_how_many_runs_wait(policy: WaitingPolicy, expected: Waiting) -> None:
    assert waiting(policy) == expected


def test_run_is_made_once_without_a_retry() -> None:
    run, stop = Failing(1), Pauses()

    with pytest.raises(ValueError, match="no luck"):
        make(run, stop, None)

    assert run.made == 1
    assert stop.seconds == []


def test_max_attempts_counts_the_tries_after_the_first() -> None:
    run, stop = Failing(99), Pauses()

    with pytest.raises(ValueError, match="no luck"):
        make(run, stop, Retry(max_attempts=3, retry_interval_s=2.0))

    assert run.made == 4
    assert stop.seconds == [2.0, 2.0, 2.0]


def test_retry_ends_with_the_first_attempt_that_goes_well() -> None:
    run, stop = Failing(2), Pauses()

    make(run, stop, Retry(max_attempts=9))

    assert run.made == 3


def test_exponential_pauses_double_up_to_the_longest() -> None:
    run, stop = Failing(99), Pauses()

    with pytest.raises(ValueError, match="no luck"):
        make(
            run,
            stop,
            Retry(max_attempts=5, retry_interval_s=0.5, backoff="EXPONENTIAL", max_interval_s=3.0),
        )

    assert stop.seconds == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_retry_that_would_begin_after_the_next_slot_is_not_made() -> None:
    run, stop = Failing(99), Pauses()

    with pytest.raises(ValueError, match="no luck"):
        make(
            run,
            stop,
            Retry(max_attempts=9, retry_interval_s=1.0, backoff="EXPONENTIAL"),
            limit_s=3.0,
        )

    # 1 s and 2 s would fit, 4 s would not; the pauses are not slept through here.
    assert stop.seconds == [1.0, 2.0]


def test_no_attempt_is_made_once_trust_is_lost() -> None:
    trust = MovableTrust()
    run, stop = Failing(99), Pauses(then=lambda: setattr(trust, "lost", True))

    with pytest.raises(TokenLostError):
        make(run, stop, Retry(max_attempts=9), trust=trust)

    assert run.made == 1


def test_no_attempt_is_made_once_we_are_to_stop() -> None:
    stop = Pauses(then=lambda: stop.set())
    run = Failing(99)

    with pytest.raises(RunStoppedError):
        make(run, stop, Retry(max_attempts=9))

    assert run.made == 1


def test_lost_token_is_no_failure_to_try_again() -> None:
    run, stop = Failing(99, TokenLostError("another's")), Pauses()

    with pytest.raises(TokenLostError):
        make(run, stop, Retry(max_attempts=9))

    assert run.made == 1


def test_interrupt_is_no_failure_to_try_again() -> None:
    made = []

    def run() -> None:
        made.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(run, Pauses(), Retry(max_attempts=9))

    assert made == [1]

"""One claimed run: its attempts, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coordinator.ports import Clock
from coordinator.protocol.messages.schedule import Policy
from coordinator.protocol.messages.schedule_claims import Outcome
from coordinator.runtime.schedule import policies
from coordinator.runtime.schedule.jobs import (
    Job,
    RunContext,
    RunCutError,
    RunFailedError,
    RunStoppedError,
)
from coordinator.runtime.schedule.run_log import RunLog, error_text, shown
from coordinator.runtime.schedule.stop_signal import StopSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Outcome of a run.

    terminate: reason for which the error policy ends the schedule; None: it goes on.
    cut:       the run was a command that a stop had to end.
    """

    outcome: Outcome
    duration_s: float
    failure: Exception | None = None
    error: str | None = None
    terminate: str | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """Reason for which a schedule runs nothing more on this node.

    stopped:    the node was told to stop.
    cut:        the node was told to stop, and the running command had to be ended.
    exhausted:  its count, its time or its one moment is over, for the whole group.
    terminated: ended by its error policy, for the whole group.
    lost:       this node no longer holds the token.
    """

    kind: Literal["stopped", "cut", "exhausted", "terminated", "lost"]
    reason: str


class RunMaker:
    """Makes the runs of one schedule, one at a time."""

    def __init__(
        self,
        *,
        policy: Policy,
        job: Job,
        stop: StopSignal,
        clock: Clock,
        log: RunLog,
        stop_timeout_s: float,
    ) -> None:
        self._policy, self._job, self._stop, self._clock = policy, job, stop, clock
        self._log, self._stop_timeout_s = log, stop_timeout_s
        self._after_error = policies.after_error(policy.error)

    def make(self, context: RunContext, limit_s: float | None) -> Made:
        """Make a run with its retries.

        limit_s: seconds until the next slot; no retry begins after it.
        Errors: TokenLostError when trust is over.
        """
        started = self._clock.now()
        with self._stop.calling(lambda: self._tell_limit(context.count)):
            failure = self._failure(context, limit_s)
        duration_s = self._clock.now() - started
        if failure is None:
            return Made(outcome="ok", duration_s=duration_s)
        error = error_text(failure)
        if isinstance(failure, RunStoppedError):
            return Made(
                outcome="stopped",
                duration_s=duration_s,
                failure=failure,
                error=error,
                cut=isinstance(failure, RunCutError),
            )
        terminate = None
        if self._after_error.terminate:
            # All groups may read why a schedule ended; a program's own text is for its group only.
            kind = failure.kind if isinstance(failure, RunFailedError) else type(failure).__name__
            terminate = f"run {context.count} failed: {kind} (errorPolicy {self._policy.error})"
        return Made(
            outcome="failed",
            duration_s=duration_s,
            failure=failure,
            error=error,
            terminate=terminate,
        )

    def say_failed(self, context: RunContext, made: Made) -> None:
        """Log a failed run, if the error policy logs."""
        if made.outcome == "failed" and self._after_error.log:
            assert context.scheduled_at is not None, "only slots are run"
            slot = shown(context.scheduled_at)
            text = f"run {context.count} ({slot}) failed: {made.error}"
            self._log.fail("run-failed", text, made.failure, count=context.count, slot=slot)

    def _failure(self, context: RunContext, limit_s: float | None) -> Exception | None:
        try:
            policies.attempts(
                lambda: self._job(context),
                retry=self._policy.retry,
                limit_s=limit_s,
                trust=context.token,
                stop=self._stop.event,
                on_retry=self._tell_retry,
            )
        except Exception as error:  # noqa: BLE001 - whatever the user's program raises is its failure
            # The run may have used another token, and lost it; only its own ends the schedule.
            context.token.check()
            return error
        return None

    def _tell_retry(self, attempt: int, error: BaseException, pause_s: float) -> None:
        if self._after_error.log:
            text = f"attempt {attempt} failed, again in {pause_s:g} s: {error_text(error)}"
            self._log.warn("run-retried", text, attempt=attempt)

    def _tell_limit(self, count: int) -> None:
        text = f"told to stop: run {count} has {self._stop_timeout_s:g} s to end (stopTimeout)"
        self._log.say("run-ending", text)

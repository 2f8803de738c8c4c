"""APScheduler as a clock: one thread that posts slots as they come due, and runs nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_REMOVED, JobEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from coordinator.runtime.log import LOGGER
from coordinator.runtime.policies import Waiting
from coordinator.runtime.run_log import RunLog
from coordinator.runtime.timetable import Slots

#: APScheduler's own lines would tell in its words what we tell in ours; its errors are kept.
_logger = logging.getLogger(f"{LOGGER}.apscheduler")
_logger.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Due:
    """Slots that are due now, oldest first; answer with `served`."""

    slots: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Slots that came while a run was going on, or too many waited."""

    count: int


@dataclass(frozen=True, slots=True)
class NoMore:
    """The last slot has been put into the inbox."""


@dataclass(frozen=True, slots=True)
class Woken:
    """Look at the stop signal."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The scheduler's thread has died."""

    error: Exception


Message = Due | Skipped | NoMore | Woken | Broken
Post = Callable[[Message], None]


class _Executor(BaseExecutor):  # type: ignore[misc]
    """What APScheduler hands due jobs to: it passes them on, and counts those under way."""

    def __init__(self, post: Post, ahead: timedelta) -> None:
        super().__init__()
        self._post, self._ahead = post, ahead

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:  # noqa: ARG002
        slots = tuple(run_time.astimezone(UTC) + self._ahead for run_time in run_times)
        self._post(Due(slots))

    def served(self, job_id: str) -> None:
        """Take one submission off the count of those under way."""
        self._run_job_success(job_id, [])


class _OurSlots(BaseTrigger):  # type: ignore[misc]
    """Slots of the database's clock, told in the time of this machine's clock."""

    def __init__(self, slots: Slots, ahead: timedelta) -> None:
        self._slots, self._ahead = slots, ahead

    def get_next_fire_time(self, previous: datetime, now: datetime) -> datetime | None:  # noqa: ARG002
        slot = self._slots.after(previous.astimezone(UTC) + self._ahead)
        return None if slot is None else slot - self._ahead


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]
    """Reports the end of its thread: a schedule without it would sit on the token for ever."""

    def __init__(self, post: Post, **options: Any) -> None:
        self._post = post
        super().__init__(**options)

    def _main_loop(self) -> None:
        try:
            super()._main_loop()
        except Exception as error:  # noqa: BLE001 - the top of a thread
            self._post(Broken(error))


class Clockwork:
    """APScheduler with one job: it posts slots as they come due."""

    JOB = "schedule"

    def __init__(
        self,
        slots: Slots,
        first: datetime,
        *,
        ahead: timedelta,
        waiting: Waiting,
        post: Post,
        log: RunLog,
    ) -> None:
        self._waiting, self._post, self._log = waiting, post, log
        self._executor = _Executor(post, ahead)
        self._scheduler = _Scheduler(
            post,
            timezone=UTC,
            logger=_logger,
            executors={"default": self._executor},
        )
        self._scheduler.add_listener(self._heard, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_REMOVED)
        self._scheduler.add_job(
            _never_called,
            trigger=_OurSlots(slots, ahead),
            id=self.JOB,
            next_run_time=first - ahead,
            max_instances=waiting.queue_max,
            coalesce=waiting.coalesce,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        """Start the thread that tells the time."""
        self._scheduler.start()

    def served(self) -> None:
        """Say that one Due has been dealt with."""
        self._executor.served(self.JOB)

    def shutdown(self) -> None:
        """End the thread; nothing is posted any more."""
        self._scheduler.remove_listener(self._heard)
        self._scheduler.shutdown(wait=False)

    def _heard(self, event: JobEvent) -> None:
        if event.code == EVENT_JOB_REMOVED:
            self._post(NoMore())
            return
        count = len(event.scheduled_run_times)
        if self._waiting.log:
            under_way = "one is going on" if self._waiting.queue_max == 1 else "too many wait"
            self._log.warn("run-skipped", f"{count} run(s) skipped: {under_way}", count=count)
        self._post(Skipped(count))


def _never_called() -> None:
    raise AssertionError("the executor passes slots on; the job itself is never called")

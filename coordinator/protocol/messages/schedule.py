"""Settings of a schedule: when a program runs, its error policy, and its retries.

One type each, from Config.toml and a task's spec to the process that runs the schedule. Each field
names its key there: `field_of("startTime")`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

CatchUp = Literal["none", "once", "all"]
ErrorPolicy = Literal["LOG_AND_TERMINATE", "LOG_AND_CONTINUE", "TERMINATE", "CONTINUE"]
WaitingPolicy = Literal["WAIT", "IGNORE", "LOG_AND_IGNORE"]
Backoff = Literal["FIXED", "EXPONENTIAL"]
OnTerminate = Literal["release", "stop"]


def field_of(key: str, default: Any) -> Any:
    """Return a field of a dataclass that has this key in Config.toml."""
    return field(default=default, metadata={"key": key})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Moments at which a program runs; exactly one of interval_s, cron and at is set; all aware."""

    interval_s: float | None = field_of("interval", None)
    cron: str | None = field_of("cron", None)  #: five fields, read as crontab(5) reads them
    at: datetime | None = field_of("at", None)
    max_count: int | None = field_of("maxCount", None)  #: runs of the group, over all terms
    opens_at: datetime | None = field_of("startTime", None)
    closes_at: datetime | None = field_of("endTime", None)  #: the last moment that can be a slot
    timezone: str = field_of("timezone", "UTC")  #: of the cron fields
    catch_up: CatchUp = field_of("catchUp", "once")  #: missed slots that a new holder makes up for
    misfire_grace_s: float | None = field_of("misfireGraceTime", None)  #: None: never too late

    def __post_init__(self) -> None:
        kinds = [it for it in (self.interval_s, self.cron, self.at) if it is not None]
        if len(kinds) != 1:
            raise ValueError("a trigger has an interval, cron fields or one moment")
        if self.interval_s is not None and not self.interval_s > 0:
            raise ValueError("an interval is above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Retries of a failed run."""

    max_attempts: int = field_of("maxAttempts", 3)  #: attempts after the first one
    retry_interval_s: float = field_of("retryInterval", 1.0)
    backoff: Backoff = field_of("backoffStrategy", "FIXED")
    max_interval_s: float | None = field_of("maxInterval", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Policies for a failed run, and for a slot that comes while a run is going on."""

    error: ErrorPolicy = field_of("errorPolicy", "LOG_AND_TERMINATE")
    waiting: WaitingPolicy = field_of("waitingPolicy", "WAIT")
    on_terminate: OnTerminate = field_of("onTerminate", "stop")
    retry: Retry | None = None

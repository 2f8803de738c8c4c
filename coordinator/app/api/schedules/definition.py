"""Definition of a schedule by a decorator: its function, its trigger and its policies.

The words and their meaning are those of `[trigger]`, `[taskPolicy]` and `[retryConfig]` in
Config.toml (docs/schedules.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, TypeVar, get_args

from coordinator.app.api.setup import Seconds
from coordinator.app.config.model import values
from coordinator.app.config.model.field_types import INTERVAL_MIN_S, SCHEDULE_MAX_S
from coordinator.errors import ConfigError
from coordinator.protocol.messages.schedule import (
    CatchUp,
    ErrorPolicy,
    Policy,
    Retry,
    Trigger,
    WaitingPolicy,
)
from coordinator.runtime.schedule.jobs import wants_context

#: Moment of a schedule: aware, or UTC; or such a text ("2026-12-31T23:00:00Z").
Moment = datetime | str
#: A function as it is decorated; a decorator returns it as it is.
F = TypeVar("F", bound=Callable[..., object])
CoroutineF = TypeVar("CoroutineF", bound=Callable[..., Coroutine[Any, Any, object]])
V = TypeVar("V")


class JobOptions(TypedDict, total=False):
    """Options of `every`, `cron` and `once`.

    name:        of the schedule, and of its token below the group; the function's name when it is
                 not given. The group's record of it goes on under this name, in every process.
    group_token: True runs it under the group's own token instead, which one process holds for all
                 such functions.
    max_count:   runs of the whole group after which the schedule ends.
    start_time, end_time: moments before and after which nothing runs.
    catch_up:    runs that fell into a time without a holder: "none", "once" (the default) or "all".
    misfire_grace_time: seconds by which a run may begin late.
    error_policy: what follows from a run that failed; "LOG_AND_TERMINATE" (the default) ends the
                 schedule for the whole group, "LOG_AND_CONTINUE" does not.
    waiting_policy: what becomes of a slot that comes during a run: "WAIT" (the default), "IGNORE"
                 or "LOG_AND_IGNORE".
    retry:       a failed run is made again: `Retry(max_attempts=3, retry_interval_s=1.0)`.
    """

    name: str
    group_token: bool
    max_count: int
    start_time: Moment
    end_time: Moment
    catch_up: CatchUp
    misfire_grace_time: Seconds
    error_policy: ErrorPolicy
    waiting_policy: WaitingPolicy
    retry: Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One function with its schedule.

    name: of the schedule. group_token: it runs under the group's own token.
    """

    name: str
    function: Callable[..., object]
    trigger: Trigger
    policy: Policy
    group_token: bool = False


def every(interval: Seconds) -> dict[str, Any]:
    """Return the trigger of an interval.

    Errors: ConfigError.
    """
    return {"interval_s": _interval("interval", interval)}


def cron(line: str, timezone: str) -> dict[str, Any]:
    """Return the trigger of a cron line.

    Errors: ConfigError.
    """
    return {
        "cron": _read("cron", line, values.cron),
        "timezone": _read("timezone", timezone, values.timezone),
    }


def once(at: Moment) -> dict[str, Any]:
    """Return the trigger of one moment.

    Errors: ConfigError.
    """
    return {"at": _read("at", at, values.moment)}


def define(
    function: Callable[..., object], kind: dict[str, Any], options: JobOptions, *, coroutine: bool
) -> Definition:
    """Return the definition of a function that is decorated.

    kind: of `every`, `cron` or `once`. coroutine: only coroutine functions are taken.
    Errors: TypeError for a function that cannot be called so, and for an unknown option;
    ConfigError for a malformed value.
    """
    unknown = sorted(options.keys() - JobOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"no such option of a schedule: {', '.join(unknown)}")
    _refuse(function, coroutine=coroutine)
    name: str = options.get("name", getattr(function, "__name__", ""))
    if not values.TASK_NAME.fullmatch(name):
        raise ConfigError(f"name: {values.TASK_NAME_RULE} (got {name!r})")
    return Definition(
        name=name,
        function=function,
        trigger=_trigger(kind, options),
        policy=_policy(options),
        group_token=options.get("group_token", False),
    )


def _trigger(kind: dict[str, Any], options: JobOptions) -> Trigger:
    more: dict[str, Any] = dict(kind)
    if (count := options.get("max_count")) is not None:
        if type(count) is not int or count < 1:
            raise ConfigError(f"max_count: must be a whole number above 0 (got {count!r})")
        more["max_count"] = count
    for key, field in (("start_time", "opens_at"), ("end_time", "closes_at")):
        if (moment := options.get(key)) is not None:
            more[field] = _read(key, moment, values.moment)
    if "opens_at" in more and "closes_at" in more and more["closes_at"] <= more["opens_at"]:
        raise ConfigError("end_time: must be later than start_time")
    if (late := options.get("misfire_grace_time")) is not None:
        more["misfire_grace_s"] = _interval("misfire_grace_time", late)
    if (catch_up := options.get("catch_up")) is not None:
        more["catch_up"] = _word("catch_up", catch_up, CatchUp)
    return Trigger(**more)


def _policy(options: JobOptions) -> Policy:
    more: dict[str, Any] = {"retry": options.get("retry")}
    if (error := options.get("error_policy")) is not None:
        more["error"] = _word("error_policy", error, ErrorPolicy)
    if (waiting := options.get("waiting_policy")) is not None:
        more["waiting"] = _word("waiting_policy", waiting, WaitingPolicy)
    return Policy(**more)


def _refuse(function: Callable[..., object], *, coroutine: bool) -> None:
    """Refuse a function that cannot be run on a schedule.

    Errors: TypeError.
    """
    name = getattr(function, "__qualname__", None) or repr(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is a generator function: calling it runs nothing")
    if coroutine and not inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{name} is no coroutine function: an AsyncCoordinator runs `async def` only; use a"
            " Coordinator for a plain function"
        )
    try:
        wants_context(function)
    except ConfigError as error:
        raise TypeError(f"{name} {error}") from None


def _interval(key: str, given: object) -> float:
    found = _read(key, given, values.duration_s)
    if not INTERVAL_MIN_S <= found <= SCHEDULE_MAX_S:
        raise ConfigError(f"{key}: must be {INTERVAL_MIN_S} s to 10 years (got {given!r})")
    return found


def _word(key: str, given: object, words: object) -> Any:
    if given not in get_args(words):
        raise ConfigError(f"{key}: must be one of {', '.join(get_args(words))} (got {given!r})")
    return given


def _read(key: str, given: object, reader: Callable[[Any], V]) -> V:
    try:
        return reader(given)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key}: {error} (got {given!r})") from None

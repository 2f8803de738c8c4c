"""Config.toml as types: the program, its schedule, and what follows from a failed run."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from coordinator.app.config.model import values
from coordinator.app.config.model.field_types import (
    CallablePath,
    Command,
    Count,
    Cron,
    Moment,
    ScheduleInterval,
    Timezone,
    Wait,
)
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.settings import (
    ForwardedSignal,
    NodeSettings,
    OnExit,
    ProgramSettings,
    StandbyKind,
)
from coordinator.protocol.messages.schedule import (
    Backoff,
    CatchUp,
    ErrorPolicy,
    OnTerminate,
    Policy,
    Retry,
    Trigger,
    WaitingPolicy,
)

_node, _program = partial(setting, of=NodeSettings), partial(setting, of=ProgramSettings)
_trigger = partial(setting, of=Trigger)
_policy, _retry = partial(setting, of=Policy), partial(setting, of=Retry)


def check_program(
    command: tuple[str, ...] | str | None, function: str | None, *, shell: bool
) -> None:
    """Refuse an invalid program; command or function is given."""
    if command is not None and function is not None:
        raise broken_rule("callable", "cannot be combined with command; give one of them")
    if shell and not isinstance(command, str):
        raise broken_rule("shell", "needs command as one text")
    try:
        if isinstance(command, str) and not shell:
            values.arguments(command)
    except ValueError as error:
        raise broken_rule("command", str(error)) from None


class ProgramTable(Table):
    """The program that the active node runs.

    `coord run -- COMMAND` takes precedence over this table and [trigger]. A table without command
    and callable says how such a COMMAND is run.
    """

    callable: CallablePath | None = _program(
        "callable", 'A Python function as "module:function".', shown="json:dumps"
    )
    command: Command | None = _program(
        "command",
        'List of arguments, or one line: "backup --all".',
        shown=["backup", "--all"],
        aside=True,
        lead="Or, instead of it, a command:",
    )
    shell: bool = _program(
        "shell",
        "Run the one line of command by /bin/sh -c.",
        by="--shell",
        help="Run COMMAND by /bin/sh -c.",
        shown=True,
        aside=True,
    )
    cwd: str | None = _program(
        "cwd", "Directory to run in. Default: the one that coord was started in.", shown="/"
    )
    on_exit: OnExit | None = _node(
        "program.onExit",
        'When the program ends by itself: "restart" it, restart it "on-failure" only (exit code not'
        ' 0), "release" the token to another node, or "stop" this node. Default "restart"; "stop"'
        " for `coord run -- COMMAND`.",
        by="--restart",
        words={"never": "stop", "on-failure": "on-failure", "always": "restart"},
        default=None,
        shown="restart",
    )
    forward_signals: tuple[ForwardedSignal, ...] = _program(
        "forwardSignals",
        'Signals of the node that the program gets: "HUP", "USR1", "USR2", "QUIT". Default: none.',
    )

    standby: StandbyKind = _program(
        "standby",
        'The program on a node that stands by: "cold", not there; or "started": it runs already,'
        " and waits in `coord gate` until its node is active (docs/warm-standbys.md).",
        by="--standby",
        help="cold, or started: the program of a standby waits in `coord gate`.",
        shown="started",
        aside=True,
    )
    progress_timeout: Wait = _program(
        "progressTimeout",
        "Seconds without a report of progress after which the program counts as hung: it is"
        " stopped, and another node goes first. It reports by `coord tick` or sd_notify"
        " (WATCHDOG=1). Default: it reports nothing.",
        by="--progress-timeout",
        help="Seconds without progress after which the program counts as hung.",
        shown=30,
        aside=True,
    )

    @model_validator(mode="after")
    def _one_program(self) -> ProgramTable:
        if self.command is None and self.callable is None:
            if self.model_fields_set - {
                "on_exit",
                "forward_signals",
                "progress_timeout",
                "standby",
            }:
                raise broken_rule("", "needs command or callable")
            return self
        check_program(self.command, self.callable, shell=self.shell)
        return self


class TriggerTable(Table):
    """The moments at which the callable runs, while its node holds the token.

    Without this table it runs once.
    """

    interval: ScheduleInterval | None = _trigger("interval", "Seconds between two starts.", shown=5)
    cron: Cron | None = _trigger(
        "cron",
        'Minute, hour, day, month, day of week; or "@daily".',
        shown="*/5 * * * *",
        aside=True,
        lead="Or, instead of it, one of",
    )
    at: Moment | None = _trigger(
        "at", "Once, at this moment.", shown="2099-12-31T23:00:00Z", aside=True
    )
    max_count: Annotated[Count, Field(ge=1, le=1_000_000_000)] | None = _trigger(
        "maxCount",
        "Number of runs of the whole group after which the schedule ends; a takeover goes on"
        " counting. Default: no limit.",
        shown=100,
    )
    start_time: Moment | None = _trigger(
        "startTime",
        "Moment before which nothing runs; without an offset it is UTC. Default: none.",
        shown="2026-01-01T00:00:00Z",
    )
    end_time: Moment | None = _trigger(
        "endTime",
        "Moment after which nothing runs. Default: none.",
        shown="2099-12-31T23:00:00+01:00",
    )
    timezone: Timezone = _trigger("timezone", "Time zone of the cron fields.")
    catch_up: CatchUp = _trigger(
        "catchUp",
        'Runs that fell into a time without an active node: "none", "once" (one for all) or "all".',
    )
    misfire_grace_time: ScheduleInterval | None = _trigger(
        "misfireGraceTime",
        "Seconds by which a run may start late, whatever the reason; later, it is skipped. Default:"
        " never skipped.",
        shown=60,
    )

    @model_validator(mode="after")
    def _one_kind(self) -> TriggerTable:
        kinds = [key for key in ("interval", "cron", "at") if getattr(self, key) is not None]
        if len(kinds) != 1:
            rule = f"cannot be combined with {kinds[0]}" if kinds else "needs interval, cron or at"
            raise broken_rule(kinds[1] if kinds else "", rule)
        if self.end_time and self.start_time and self.end_time <= self.start_time:
            raise broken_rule("endTime", "must be later than startTime")
        return self


class TaskPolicyTable(Table):
    """The consequences when the callable fails, or is still running when it is due again."""

    error_policy: Annotated[ErrorPolicy, BeforeValidator(values.upper)] = _policy(
        "errorPolicy",
        '"LOG_AND_TERMINATE" or "TERMINATE" ends the schedule for the whole group, until a node is'
        ' started again; "LOG_AND_CONTINUE" or "CONTINUE" does not.',
    )
    waiting_policy: Annotated[WaitingPolicy, BeforeValidator(values.upper)] = _policy(
        "waitingPolicy", '"WAIT" runs it afterwards, "IGNORE" and "LOG_AND_IGNORE" skip it.'
    )
    on_terminate: OnTerminate = _policy(
        "onTerminate",
        'A terminated schedule does not keep the token: "stop" ends the node, "release" hands the'
        " token over.",
    )


class RetryTable(Table):
    """Retries of a failed run, before errorPolicy applies. Default: none."""

    max_attempts: Annotated[Count, Field(ge=0, le=1_000_000)] = _retry(
        "maxAttempts", "Tries after the first one; none that would begin after the next slot."
    )
    retry_interval: ScheduleInterval = _retry("retryInterval", "Seconds before the first retry.")
    backoff_strategy: Annotated[Backoff, BeforeValidator(values.upper)] = _retry(
        "backoffStrategy", '"FIXED", or "EXPONENTIAL": the wait doubles each time.'
    )
    max_interval: ScheduleInterval | None = _retry(
        "maxInterval",
        "Longest wait in seconds, however often doubled. Default: no limit.",
        shown=60,
    )

    @model_validator(mode="after")
    def _room_to_grow(self) -> RetryTable:
        if self.max_interval is not None and self.max_interval < self.retry_interval:
            raise broken_rule("maxInterval", "must not be shorter than retryInterval")
        return self

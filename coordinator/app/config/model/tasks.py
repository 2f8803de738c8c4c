"""Config.toml as types: what a node runs, when, and what follows when that fails.

A group has one program, or tasks. A definition of a task is checked by the same types wherever it
comes from: the file, or the flags of `coord task add` (task_specs.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from coordinator.app.config.model import values
from coordinator.app.config.model.field_types import (
    CallablePath,
    Command,
    Count,
    Cron,
    Moment,
    NodeNames,
    Options,
    OtherNode,
    ScheduleInterval,
    TaskName,
    Timezone,
    Variables,
    Wait,
)
from coordinator.app.config.model.table import Table, broken_rule
from coordinator.app.config.settings import ForwardedSignal, OnExit
from coordinator.protocol.messages.group_record import OnDone, OnPartition
from coordinator.protocol.messages.schedule import (
    Backoff,
    CatchUp,
    ErrorPolicy,
    OnTerminate,
    WaitingPolicy,
)


def _check_program(
    command: tuple[str, ...] | str | None, function: str | None, *, shell: bool
) -> None:
    """Refuse what is no program; one of the two is given."""
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
    """Program of the active node: a command or a callable."""

    command: Command | None = Field(default=None, description="List of arguments, or one line.")
    callable: CallablePath | None = Field(
        default=None, description='Python function as "module:function".'
    )
    shell: bool = Field(default=False, description="Give the command's line to /bin/sh.")
    cwd: str | None = Field(default=None, description="Directory to run in.")
    on_exit: OnExit | None = Field(
        default=None, description="What follows when the program ends by itself; default restart."
    )
    forward_signals: tuple[ForwardedSignal, ...] = Field(
        default=(), description="Signals of the node that the program gets; default none."
    )

    @model_validator(mode="after")
    def _one_program(self) -> ProgramTable:
        if self.command is None and self.callable is None:
            if self.model_fields_set - {"on_exit", "forward_signals"}:
                raise broken_rule("", "needs command or callable")
            return self
        _check_program(self.command, self.callable, shell=self.shell)
        return self


class TriggerTable(Table):
    """When the callable runs, while its node holds the token."""

    interval: ScheduleInterval | None = Field(
        default=None, description="Seconds between two starts."
    )
    cron: Cron | None = Field(
        default=None, description="Five cron fields: minute, hour, day, month, day of week."
    )
    at: Moment | None = Field(default=None, description="The one moment to run at.")
    max_count: Annotated[Count, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="Runs of the whole group until the schedule is done."
    )
    start_time: Moment | None = Field(
        default=None, description="Nothing runs before; past is open."
    )
    end_time: Moment | None = Field(default=None, description="Nothing runs after.")
    timezone: Timezone | None = Field(
        default=None, description="Time zone of the cron fields; default UTC."
    )
    catch_up: CatchUp = Field(default="once", description="What a new holder makes up for.")
    misfire_grace_time: ScheduleInterval | None = Field(
        default=None, description="Seconds by which a run may be late; default any."
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
    """Policies for a failed run, and for a run that is due while one is going on."""

    error_policy: Annotated[ErrorPolicy, BeforeValidator(values.upper)] = Field(
        default="LOG_AND_TERMINATE", description="After a run that failed for good."
    )
    waiting_policy: Annotated[WaitingPolicy, BeforeValidator(values.upper)] = Field(
        default="WAIT", description="For a run that is due while the one before is going on."
    )
    on_terminate: OnTerminate = Field(
        default="stop", description="A terminated schedule stops the node, or releases the token."
    )


class RetryTable(Table):
    """How a failed run is tried again before it counts as failed."""

    max_attempts: Annotated[Count, Field(ge=0, le=1_000_000)] = Field(
        default=3, description="Tries after the first one, before the next slot."
    )
    retry_interval: ScheduleInterval = Field(
        default=1.0, description="Seconds before the first retry."
    )
    backoff_strategy: Annotated[Backoff, BeforeValidator(values.upper)] = Field(
        default="FIXED", description="EXPONENTIAL doubles the seconds each time."
    )
    max_interval: ScheduleInterval | None = Field(
        default=None, description="Seconds that a doubled wait never exceeds."
    )

    @model_validator(mode="after")
    def _room_to_grow(self) -> RetryTable:
        if self.max_interval is not None and self.max_interval < self.retry_interval:
            raise broken_rule("maxInterval", "must not be shorter than retryInterval")
        return self


class TaskTable(Table):
    """A task of the group: what it runs, when, and which of the nodes may."""

    name: TaskName = Field(description="Unique in the group.")
    command: Command | None = Field(default=None, description="List of arguments, or one line.")
    callable: CallablePath | None = Field(
        default=None, description='Python function as "module:function".'
    )
    shell: bool = Field(default=False, description="Give the command's line to /bin/sh.")
    cwd: str | None = Field(default=None, description="Directory to run in.")
    env: Variables = Field(
        default_factory=dict, description="Variables that the program gets beside the node's own."
    )
    options: Options = Field(
        default_factory=dict,
        description="Anything; the program gets it as JSON in COORD_OPTIONS.",
    )
    forward_signals: tuple[ForwardedSignal, ...] = Field(
        default=(), description="Signals of the node that the program gets; default none."
    )
    trigger: TriggerTable | None = None
    enabled: bool = Field(default=True, description="false: defined, but run by nobody.")
    nodes: NodeNames = Field(default=(), description="Who may run it; default every node.")
    preferred: OtherNode | None = Field(
        default=None, description="The node that goes first while it is a live Member."
    )
    pinned: bool = Field(default=False, description="Nobody but the preferred node ever runs it.")
    failover: bool | None = Field(
        default=None, description="false: it waits for the node that had it last to return."
    )
    failback: bool = Field(
        default=True, description="false: it stays where it is when a better node returns."
    )
    on_partition: OnPartition = Field(
        default=OnPartition.STOP,
        description="continue: it goes on when its node is cut off, and may then run twice.",
    )
    on_done: OnDone | None = Field(
        default=None,
        description="What follows when the program ends; default finish with a trigger, else"
        " restart.",
    )
    progress_timeout: Wait = Field(
        default=0.0, description="Seconds without progress after which it has hung; 0: never."
    )
    stop_timeout: Wait | None = Field(
        default=None, description="Seconds from SIGTERM to SIGKILL; default the node's own."
    )

    @model_validator(mode="after")
    def _possible(self) -> TaskTable:
        if self.command is None and self.callable is None:
            raise broken_rule("", "needs command or callable")
        _check_program(self.command, self.callable, shell=self.shell)
        if self.pinned and self.preferred is None:
            raise broken_rule("pinned", "needs preferred: the node that it is pinned to")
        if self.nodes and self.preferred is not None and self.preferred not in self.nodes:
            raise broken_rule("preferred", "must be one of nodes")
        return self


class TasksPolicyTable(Table):
    """How this node keeps its part of a task group, and judges the others as its observer."""

    failover: bool = Field(default=True, description="Of tasks that do not say it themselves.")
    to_member: Wait | None = Field(
        default=None,
        description="Seconds that a new or returned node must be live before it may run tasks;"
        " default 2 x livenessCheckInterval.",
    )
    late_max: Annotated[Count, Field(ge=0, le=1_000_000)] = Field(
        default=3, description="Late heartbeats that send a node to Rehab; 0: they never do."
    )
    late_within: Wait | None = Field(
        default=None,
        description="Seconds within which those count; default 10 x livenessCheckInterval.",
    )
    observer_grace: Wait | None = Field(
        default=None,
        description="Seconds that a new observer only watches; default 2 x heartbeatFrequency.",
    )
    commands: Literal["any", "listed"] = Field(
        default="any",
        description="listed: run only tasks that this file lists, with this file's command.",
    )

"""Config.toml as types: every key with its default, its unit and a sentence.

The keys are camelCase, the origin's among them unchanged. An unknown key is refused. Rules that
join several keys of one table stand in that table; those that join tables are the loader's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from coordinator.app import config_values as values
from coordinator.app.config_types import (
    Address,
    CallablePath,
    Command,
    Count,
    Cron,
    Embedded,
    GroupName,
    Hosts,
    Interval,
    LogLevel,
    Moment,
    NodeName,
    Ports,
    ScheduleInterval,
    SchemaName,
    Timezone,
    Url,
    Wait,
)
from coordinator.app.settings import (
    Backoff,
    CatchUp,
    ErrorPolicy,
    Isolation,
    LogFormat,
    OnExit,
    OnTerminate,
    WaitingPolicy,
)


class Table(BaseModel):
    """A table of the file; a value that is refused is never repeated by pydantic itself."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )


def broken_rule(key: str, rule: str) -> PydanticCustomError:
    """Say which key of this table breaks a rule that joins several."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "key": key})


class DatabaseTable(Table):
    """The PostgreSQL that all nodes of the group share."""

    host: Hosts | None = Field(
        default=None,
        description="Host, socket directory, or several with commas; default localhost.",
    )
    port: Ports | None = Field(
        default=None, description="Port, or one for each host; default 5432."
    )
    user: str | None = Field(default=None, description="Role to connect as.")
    password: SecretStr | None = Field(
        default=None,
        description="Better kept in ~/.pgpass, passwordFile or COORD_DATABASE_PASSWORD.",
    )
    password_file: str | None = Field(
        default=None, description="File whose only line is the password."
    )
    database: str | None = Field(default=None, description="Name of the database.")
    url: Url | None = Field(
        default=None,
        description="postgresql://… or libpq's key=value text, instead of host to database.",
    )
    service: str | None = Field(default=None, description="Entry of libpq's service file.")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = (
        Field(default=None, description="TLS mode of libpq.")
    )
    sslrootcert: str | None = Field(
        default=None, description="File with the certificates to trust."
    )
    sslcert: str | None = Field(default=None, description="File with this node's certificate.")
    sslkey: str | None = Field(default=None, description="File with this node's private key.")
    schema_name: SchemaName = Field(
        default="public", alias="schema", description="Schema that holds coord's tables."
    )
    auto_migrate: bool = Field(default=True, description="Create and update the tables at start.")
    connect_timeout: Interval = Field(
        default=5.0, description="Seconds until a connection must stand."
    )
    embedded: Embedded | None = Field(
        default=None, description="true or a directory: the embedded server; false: never use it."
    )

    @model_validator(mode="after")
    def _one_source(self) -> DatabaseTable:
        if self.password is not None and self.password_file is not None:
            raise broken_rule("passwordFile", "cannot stand beside password")
        return self


class ProgramTable(Table):
    """What the active node runs: a command or a callable."""

    command: Command | None = Field(default=None, description="List of arguments, or one line.")
    callable: CallablePath | None = Field(
        default=None, description='Python function as "module:function".'
    )
    shell: bool = Field(default=False, description="Give the command's line to /bin/sh.")
    cwd: str | None = Field(default=None, description="Directory to run in.")
    on_exit: OnExit | None = Field(
        default=None, description="What follows when the program ends by itself; default restart."
    )

    @model_validator(mode="after")
    def _one_program(self) -> ProgramTable:
        if self.command is None and self.callable is None:
            if self.model_fields_set - {"on_exit"}:
                raise broken_rule("", "needs command or callable")
            return self
        if self.command is not None and self.callable is not None:
            raise broken_rule("callable", "cannot stand beside command; give one of them")
        if self.shell and not isinstance(self.command, str):
            raise broken_rule("shell", "needs command as one text")
        try:
            if isinstance(self.command, str) and not self.shell:
                values.arguments(self.command)
        except ValueError as error:
            raise broken_rule("command", str(error)) from None
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
    def _one_kind(self, info: ValidationInfo) -> TriggerTable:
        kinds = [key for key in ("interval", "cron", "at") if getattr(self, key) is not None]
        if len(kinds) != 1:
            rule = f"cannot stand beside {kinds[0]}" if kinds else "needs interval, cron or at"
            raise broken_rule(kinds[1] if kinds else "", rule)
        if self.end_time and self.start_time and self.end_time <= self.start_time:
            raise broken_rule("endTime", "must be later than startTime")
        if self.end_time and info.context and self.end_time <= info.context["now"]:
            raise broken_rule("endTime", "is over: nothing would ever run")
        return self


class TaskPolicyTable(Table):
    """What follows from a failed run, and from a run that is due while one is going on."""

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
        default=3, description="Tries after the first one."
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


class LogTable(Table):
    """What the node says, and how."""

    level: LogLevel = Field(default="info", description="Least severity that is written.")
    format: Annotated[LogFormat, BeforeValidator(values.lower)] = Field(
        default="auto", description="text on a terminal and JSON elsewhere, or always one of them."
    )


class HttpTable(Table):
    """The HTTP endpoints of the node."""

    listen: Address | None = Field(
        default=None, description='Where /active, /livez and the like answer: "host:port".'
    )


class ConfigFile(Table):
    """The whole file."""

    task_id: NodeName = Field(
        default="{hostname}-{pid}",
        validate_default=True,  # so that the names in braces are filled in
        description="Name of this node; must be unique in its group.",
    )
    group_id: GroupName = Field(
        default="default", description="Group of nodes that share one token."
    )
    heartbeat_frequency: Interval = Field(
        default=1.0, description="Seconds between two heartbeats of this node."
    )
    liveness_check_interval: Interval = Field(
        default=30.0, description="Seconds of silence after which the active node counts as dead."
    )
    stop_timeout: Wait | None = Field(
        default=None,
        description="Seconds from SIGTERM to SIGKILL of the program; default half of what two"
        " heartbeats leave of the lease, at most 10.",
    )
    priority: Annotated[Count, Field(ge=0, le=1_000_000)] = Field(
        default=1, description="Higher takes first; 0 never takes."
    )
    isolation: Isolation = Field(
        default="auto", description="How the program's processes are caught."
    )
    database_config: DatabaseTable = Field(default_factory=DatabaseTable)
    program: ProgramTable = Field(default_factory=ProgramTable)
    trigger: TriggerTable | None = None
    task_policy: TaskPolicyTable = Field(default_factory=TaskPolicyTable)
    retry_config: RetryTable | None = None
    log: LogTable = Field(default_factory=LogTable)
    http: HttpTable = Field(default_factory=HttpTable)


class RunOptions(Table):
    """What belongs to one start of one node: flags and environment, never the file."""

    nonblock: bool = False
    wait: Wait | None = None
    conflict_exit_code: Annotated[Count, Field(ge=0, le=255)] = 75
    pass_database: bool = False
    require_database: bool = False
    observe: bool = False

    @model_validator(mode="after")
    def _one_patience(self) -> RunOptions:
        if self.nonblock and self.wait is not None:
            raise broken_rule("wait", "cannot stand beside nonblock")
        return self

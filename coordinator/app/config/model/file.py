"""Config.toml as types: every key with its default, its unit and a sentence.

The keys are camelCase, the origin's among them unchanged. An unknown key is refused. Rules that
join several keys of one table stand in that table; those that join tables are the loader's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from coordinator.app.config.model import values
from coordinator.app.config.model.field_types import (
    Address,
    Count,
    Embedded,
    GroupName,
    Hosts,
    Interval,
    LogLevel,
    NodeName,
    Ports,
    SchemaName,
    Url,
    Wait,
)
from coordinator.app.config.model.table import Table, broken_rule
from coordinator.app.config.model.tasks import (
    ProgramTable,
    RetryTable,
    TaskPolicyTable,
    TasksPolicyTable,
    TaskTable,
    TriggerTable,
)
from coordinator.app.config.settings import DEFAULT_SCHEMA, Isolation, LogFormat


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
        default=DEFAULT_SCHEMA, alias="schema", description="Schema that holds coord's tables."
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
            raise broken_rule("passwordFile", "cannot be combined with password")
        return self


class LogTable(Table):
    """Settings of the node's log."""

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
    hosts_tasks: bool | None = Field(
        default=None,
        description="A node of a task group: it has tasks, not one program; [[tasks]] implies it.",
    )
    database_config: DatabaseTable = Field(default_factory=DatabaseTable)
    program: ProgramTable = Field(default_factory=ProgramTable)
    trigger: TriggerTable | None = None
    task_policy: TaskPolicyTable = Field(default_factory=TaskPolicyTable)
    retry_config: RetryTable | None = None
    tasks: tuple[TaskTable, ...] = Field(
        default=(), description="Tasks of the group; each runs on one of its nodes."
    )
    tasks_policy: TasksPolicyTable = Field(default_factory=TasksPolicyTable)
    log: LogTable = Field(default_factory=LogTable)
    http: HttpTable = Field(default_factory=HttpTable)


class RunOptions(Table):
    """Values of one start of one node: from flags and environment, never from the file."""

    nonblock: bool = False
    wait: Wait | None = None
    conflict_exit_code: Annotated[Count, Field(ge=0, le=255)] = 75
    pass_database: bool = False
    require_database: bool = False
    observe: bool = False

    @model_validator(mode="after")
    def _one_patience(self) -> RunOptions:
        if self.nonblock and self.wait is not None:
            raise broken_rule("wait", "cannot be combined with --nonblock")
        if self.observe and (self.nonblock or self.wait is not None):
            key = "nonblock" if self.nonblock else "wait"
            raise broken_rule(key, "cannot be combined with --observe: it never takes the token")
        return self

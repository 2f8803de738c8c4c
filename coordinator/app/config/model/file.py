"""Config.toml as types: every key with its default, its unit and its sentences.

The keys are camelCase, the origin's among them unchanged. An unknown key is refused. Rules that
join several keys of one table stand in that table; those that join tables are the loader's. The
docstring of a table is also the text above it in the commented Config.toml.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from coordinator.app.config.model import values
from coordinator.app.config.model.database import DatabaseTable
from coordinator.app.config.model.field_types import (
    Address,
    Count,
    GroupName,
    Interval,
    LogLevel,
    NodeAddress,
    NodeName,
    TokensAddress,
    Wait,
)
from coordinator.app.config.model.program import (
    ProgramTable,
    RetryTable,
    TaskPolicyTable,
    TriggerTable,
)
from coordinator.app.config.model.side_runs.health import HealthTable
from coordinator.app.config.model.side_runs.hooks import HooksTable
from coordinator.app.config.model.storage.tables import CheckpointsTable, DiskTable
from coordinator.app.config.model.table import Table, broken_rule, setting
from coordinator.app.config.model.tasks import TasksPolicyTable, TaskTable
from coordinator.app.config.settings import Isolation, LogFormat, NodeSettings

_node = partial(setting, of=NodeSettings)


class LogTable(Table):
    """The lines that the node writes."""

    level: LogLevel = _node(
        "log.level",
        'Least severity that is written: "debug", "info", "warning" or "error".',
        by="COORD_LOG_LEVEL -q -v",
        everywhere=True,
    )
    format: Annotated[LogFormat, BeforeValidator(values.lower)] = _node(
        "log.format",
        'Format of log lines: "text", "json", or "auto": text on a terminal and JSON elsewhere.',
        by="COORD_LOG_FORMAT --log-format",
    )


class HttpTable(Table):
    """The HTTP endpoints of the node."""

    listen: Address | None = _node(
        "http.listen",
        "Address for /active, /standby, /livez, /readyz, /healthz, /metrics and /status. Default:"
        " none.",
        by="COORD_LISTEN --listen HOST:PORT",
        shown="127.0.0.1:8008",
    )
    agent_check: Address | None = _node(
        "http.agentCheck",
        'Address for the agent-check of HAProxy: "up ready" from the active node, "down" from a'
        ' standby, "maint" from one that is drained. Default: none.',
        by="COORD_AGENT_CHECK --agent-check HOST:PORT",
        shown="127.0.0.1:8009",
    )


class NodeTable(Table):
    """Facts about this node, for the others."""

    address: NodeAddress | None = _node(
        "node.address",
        "Address at which others reach this node, as a name, an IP address or HOST:PORT. It is"
        " written when the node joins; `coord leader --address` and onChange tell it. Default: the"
        " IP address from which the database's server sees the node; none through a unix socket.",
        by="COORD_ADDRESS --address HOST",
        shown="10.0.0.7",
    )


class TokensTable(Table):
    """The token service of the node, for programs in any language."""

    listen: TokensAddress | None = _node(
        "tokens.listen",
        "Address at which programs of this machine hold tokens of the group (/v1/tokens/NAME): a"
        " unix socket, or a port of the loopback interface. Default: none.",
        by="COORD_TOKENS --tokens ADDRESS",
        shown="unix:/run/coord.sock",
    )


class ConfigFile(Table):
    """The whole file."""

    task_id: NodeName = _node(
        "taskId",
        "Name of this node. It must be unique in the group. The most common mistake is to copy this"
        " line to the next machine: there, change it, set COORD_TASK_ID, or delete the line, which"
        " gives every node a name of its own.",
        by="COORD_TASK_ID --task-id NAME",
        default="{hostname}-{pid}",
        validate_default=True,  # so that the names in braces are filled in
        shown="add-unique-task",
        on=True,
    )
    group_id: GroupName = _node(
        "groupId",
        "The nodes of one group share one token, and one of them is active.",
        by="COORD_GROUP_ID --group",
        everywhere=True,
        shown="task-group-01",
        on=True,
    )
    heartbeat_frequency: Interval = _node(
        "heartbeatFrequency",
        "Seconds between two heartbeats.",
        by="COORD_HEARTBEAT_FREQUENCY --heartbeat-frequency",
        on=True,
    )
    liveness_check_interval: Interval = _node(
        "livenessCheckInterval",
        "Seconds without a heartbeat after which the active node counts as dead; at least 3 x"
        " heartbeatFrequency.",
        by="COORD_LIVENESS_CHECK_INTERVAL --liveness-check-interval",
        shown=6,
        on=True,
    )
    stop_timeout: Wait | None = _node(
        "stopTimeout",
        "Seconds from SIGTERM to SIGKILL of the program. The default is half of what two heartbeats"
        " leave of the lease, at most 10 (1.36 for intervals of 1 and 6).",
        by="COORD_STOP_TIMEOUT --stop-timeout",
        default=None,
        shown=1,
    )
    priority: Annotated[Count, Field(ge=0, le=1_000_000)] = _node(
        "priority",
        "Order in which nodes take the token: a higher number first. With 0 a node never takes it"
        " and only watches.",
        by="COORD_PRIORITY",
    )
    isolation: Isolation = _node(
        "isolation",
        "Means to find and kill all processes of the program:"
        ' "auto", "cgroup", "pidns" or "plain".',
        by="COORD_ISOLATION --isolation",
    )
    hosts_tasks: bool | None = _node(
        "hostsTasks",
        "Run the group's tasks instead of a program; [[tasks]] implies it.",
        by="COORD_HOSTS_TASKS --tasks",
        default=None,
        shown=True,
        aside=True,
        lead="Instead of one program the group may have many tasks, each on one of its nodes: see"
        " [[tasks]] below. A node that runs tasks but defines none needs this line, or `coord run"
        " --tasks`:",
    )
    database_config: DatabaseTable = Field(default_factory=DatabaseTable, alias="databaseConfig")
    program: ProgramTable = Field(default_factory=ProgramTable, alias="program")
    health: HealthTable | None = Field(default=None, alias="health")
    hooks: HooksTable | None = Field(default=None, alias="hooks")
    trigger: TriggerTable | None = Field(default=None, alias="trigger")
    task_policy: TaskPolicyTable = Field(default_factory=TaskPolicyTable, alias="taskPolicy")
    retry_config: RetryTable | None = Field(default=None, alias="retryConfig")
    tasks: tuple[TaskTable, ...] = Field(
        default=(), alias="tasks", description="Tasks of the group; each runs on one of its nodes."
    )
    tasks_policy: TasksPolicyTable = Field(default_factory=TasksPolicyTable, alias="tasksPolicy")
    checkpoints: CheckpointsTable = Field(default_factory=CheckpointsTable, alias="checkpoints")
    disks: tuple[DiskTable, ...] = Field(
        default=(), alias="disks", description="Storage devices of this node."
    )
    node: NodeTable = Field(default_factory=NodeTable, alias="node")
    log: LogTable = Field(default_factory=LogTable, alias="log")
    http: HttpTable = Field(default_factory=HttpTable, alias="http")
    tokens: TokensTable = Field(default_factory=TokensTable, alias="tokens")


class RunOptions(Table):
    """Options of one start of one node: flags and environment, never the file."""

    nonblock: bool = _node(
        "nonblock", "Give up at once if another node holds the token.", by="-n, --nonblock"
    )
    wait: Wait | None = _node(
        "wait", "Give up after waiting so many seconds for the token.", by="-w, --wait"
    )
    conflict_exit_code: Annotated[Count, Field(ge=0, le=255)] = _node(
        "conflictExitCode",
        "Exit code after giving up; default 75.",
        by="-E, --conflict-exit-code CODE",
    )
    pass_database: bool = _node(
        "passDatabase",
        "Pass COORD_DATABASE_URL to the program.",
        by="COORD_PASS_DATABASE --pass-database",
    )
    require_database: bool = setting(
        "requireDatabase",
        "Never use the embedded server.",
        by="COORD_REQUIRE_DATABASE --require-database",
        default=False,
    )
    observe: bool = setting(
        "observe", "Watch, never take the token.", by="COORD_OBSERVE --observe", default=False
    )

    @model_validator(mode="after")
    def _one_patience(self) -> RunOptions:
        if self.nonblock and self.wait is not None:
            raise broken_rule("wait", "cannot be combined with --nonblock")
        if self.observe and (self.nonblock or self.wait is not None):
            key = "nonblock" if self.nonblock else "wait"
            raise broken_rule(key, "cannot be combined with --observe: it never takes the token")
        return self

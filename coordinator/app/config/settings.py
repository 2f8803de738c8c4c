"""Settings of a running node: plain values, settled, with the origin of each one.

Only the standard library is imported here, because the guardian and the program's own process
read these settings and must start fast. `loader.load` makes them. A field that is a key of
Config.toml names it, and has its default; all else about the key is stated in model/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from coordinator.protocol.messages.group_record import OnDone, OnPartition, TaskDef
from coordinator.protocol.messages.schedule import Policy, Retry, Trigger, field_of

ForwardedSignal = Literal["HUP", "USR1", "USR2", "QUIT"]
OnExit = Literal["restart", "on-failure", "release", "stop"]
StandbyKind = Literal["cold", "started"]
Isolation = Literal["auto", "cgroup", "pidns", "plain"]
LogFormat = Literal["auto", "text", "json"]
Commands = Literal["any", "listed"]

#: Files that are read if none is named: in the working directory, else the system's, which a
#: package or an administrator provides.
DEFAULT_FILE, SYSTEM_FILE = "Config.toml", "/etc/coord/Config.toml"

#: Schema of coord's tables, unless databaseConfig.schema names another.
DEFAULT_SCHEMA = "coord"
#: Fields of a trigger that are moments.
MOMENTS = ("at", "opens_at", "closes_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSettings:
    """Program of the holder: a command (argv) or a callable, never both."""

    argv: tuple[str, ...] | None = field_of("command", None)
    callable: str | None = field_of("callable", None)  #: "module:function"
    shell: bool = field_of("shell", False)  #: argv has one string, which /bin/sh reads
    cwd: str | None = field_of("cwd", None)
    forward_signals: tuple[str, ...] = field_of("forwardSignals", ())
    progress_s: float = field_of("progressTimeout", 0.0)  #: 0.0: it reports no progress
    standby: StandbyKind = field_of("standby", "cold")  #: state of the program on a standby


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """Health check of the program: a command (argv) or a URL, never both."""

    argv: tuple[str, ...] | None = field_of("command", None)
    url: str | None = field_of("http", None)
    interval_s: float = field_of("interval", 10.0)
    timeout_s: float = field_of("timeout", 5.0)
    failures_max: int = field_of("failures", 3)  #: in a row, before the program counts as hung
    delay_s: float | None = field_of("initialDelay", None)  #: None: one interval


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """Commands around the program, each with the same bound on its time; and the webhook."""

    before_start: tuple[str, ...] | None = field_of("beforeStart", None)
    after_stop: tuple[str, ...] | None = field_of("afterStop", None)
    on_change: tuple[str, ...] | None = field_of("onChange", None)
    timeout_s: float = field_of("timeout", 10.0)
    webhook: str | None = field_of("webhook", None)  #: a URL, whose path or query may be secret
    webhook_token_file: str | None = field_of("webhookTokenFile", None)
    webhook_secret_file: str | None = field_of("webhookSecretFile", None)
    webhook_timeout_s: float = field_of("webhookTimeout", 5.0)  #: of one delivery, as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksPolicySettings:
    """Policy of this node for its group's tasks; its times count if the group's record has none."""

    failover: bool = field_of("failover", True)  #: of tasks that do not set it themselves
    to_member_s: float = field_of("toMember", 60.0)
    late_max: int = field_of("lateMax", 3)  #: late heartbeats within `late_within_s`, for Rehab
    late_within_s: float = field_of("lateWithin", 300.0)
    grace_s: float = field_of("observerGrace", 2.0)  #: a new observer only watches for so long
    commands: Commands = field_of("commands", "any")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSettings:
    """Spread and retention of checkpoints, and this node's part in them."""

    data: int | None = field_of("data", None)  #: None: by the number of nodes with disks
    parity: int | None = field_of("parity", None)
    keep: int = field_of("keep", 5)
    keep_s: float | None = field_of("keepFor", None)
    rows_max: int = field_of("rowsMax", 8 << 20)  #: bytes; up to that a checkpoint is rows
    listen: str | None = field_of("listen", None)
    advertise: str | None = field_of("advertise", None)
    directory: str | None = field_of("directory", None)
    disks: tuple[str, ...] = ()  #: URLs of [[disks]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Database of a node, and what may be done to get one."""

    #: Only the keys that the user gave: libpq's own sources (PG*, service and password files)
    #: fill the rest, below the file. "" when nothing was given.
    conninfo: str = field(default="", repr=False)
    schema: str = field_of("schema", DEFAULT_SCHEMA)
    auto_migrate: bool = field_of("autoMigrate", True)
    #: A path puts the embedded server there; False forbids it.
    embedded: bool | str | None = field_of("embedded", None)
    named: bool = False  #: a database is named, so the embedded one is not used
    require_database: bool = False
    label: str = ""  #: "user@host:port/dbname", for messages
    connect_timeout_s: float = field_of("connectTimeout", 5.0)

    @property
    def use_embedded(self) -> bool:
        """True when the embedded server is the database of this node."""
        return not self.named and not self.require_database and self.embedded is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceSettings:
    """The slot that a node of `coord once` was started for; no key of Config.toml says it."""

    slot: datetime
    retry_s: float | None = None  #: seconds until it is run again if its starter died; None: never


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSettings:
    """Variables of the service manager of a node; no key of Config.toml says them."""

    notify: str = ""  #: address of its socket; empty: it wants no messages
    watchdog_s: float = 0.0  #: time after which it kills a silent node; 0.0: never
    record: str | None = None  #: directory of what `coord node ended` must know
    start: str = ""  #: id of this start of the unit


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """All settings of one node, with the effective values of all defaults."""

    task_id: str = field(metadata={"key": "taskId"})
    group_id: str = field_of("groupId", "default")
    heartbeat_s: float = field_of("heartbeatFrequency", 1.0)
    liveness_s: float = field_of("livenessCheckInterval", 30.0)
    stop_timeout_s: float = field_of("stopTimeout", 10.0)
    priority: int = field_of("priority", 1)  #: higher takes first; 0 never takes
    on_exit: OnExit = field_of("program.onExit", "restart")
    program: ProgramSettings | None = None
    health: HealthSettings | None = None
    hooks: HookSettings | None = None
    trigger: Trigger | None = None
    policy: Policy = Policy()
    hosts_tasks: bool = field_of("hostsTasks", False)  #: it has tasks, and no program
    tasks: tuple[TaskDef, ...] = ()  #: those that its own file defines
    tasks_policy: TasksPolicySettings = TasksPolicySettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    database: DatabaseSettings = DatabaseSettings()
    isolation: Isolation = field_of("isolation", "auto")
    address: str | None = field_of("node.address", None)  #: None: the one that the server sees
    log_level: str = field_of("log.level", "info")
    log_format: LogFormat = field_of("log.format", "auto")
    nonblock: bool = field_of("nonblock", False)  #: give up at once when the token is held
    wait_s: float | None = field_of("wait", None)  #: give up after so long; None waits for ever
    one_run: bool = False  #: `coord token hold`: one run, whose exit code is the node's
    conflict_exit_code: int = field_of("conflictExitCode", 75)
    once: OnceSettings | None = None
    pass_database: bool = field_of("passDatabase", False)  #: the program may know the URL
    listen: str | None = field_of("http.listen", None)  #: "host:port" of the HTTP endpoints
    agent_check: str | None = field_of("http.agentCheck", None)  #: "host:port", for HAProxy
    tokens: str | None = field_of("tokens.listen", None)  #: address of the token service
    config_path: str | None = None
    origins: dict[str, str] = field(default_factory=dict)  #: "taskId" -> "Config.toml:1"
    warnings: tuple[str, ...] = ()  #: lines for the operator; nothing is refused for them
    config_hash: str = ""  #: equal in all nodes of a group that agree
    started_at_s: float = 0.0  #: start of `coord run`, on CLOCK_BOOTTIME
    unit: UnitSettings | None = None  #: None: no service manager has started it


def keys_of(kind: type[Any]) -> dict[str, str]:
    """Map the fields of a plain type to their keys in Config.toml, for those that have one."""
    return {each.name: each.metadata["key"] for each in fields(kind) if "key" in each.metadata}


def by_key(settings: NodeSettings) -> dict[str, object]:
    """Return the values of all fields that have a key in Config.toml, by that key."""
    policy = settings.policy
    parts: dict[str, Any] = {"": settings, "program.": settings.program}
    parts |= {"trigger.": settings.trigger, "taskPolicy.": policy, "retryConfig.": policy.retry}
    parts |= {"health.": settings.health, "hooks.": settings.hooks}
    parts |= {"tasksPolicy.": settings.tasks_policy, "databaseConfig.": settings.database}
    parts |= {"checkpoints.": settings.checkpoints}
    return {
        f"{table}{key}": getattr(part, name)
        for table, part in parts.items()
        if part is not None
        for name, key in keys_of(type(part)).items()
    }


def config_hash(
    *,
    intervals_s: tuple[float, float, float],
    program: ProgramSettings | None,
    trigger: Trigger | None,
    policy: Policy,
    tasks_policy: TasksPolicySettings | None = None,
) -> str:
    """Return four hex digits over what the nodes of a group should have in common.

    tasks_policy: of a node of a task group; else None.
    """
    shared = [list(intervals_s), *(None if it is None else asdict(it) for it in (program, trigger))]
    shared.append(asdict(policy))
    if tasks_policy is not None:
        # Which commands a node admits is its own affair, and how nodes are judged the record's.
        shared.append({"failover": tasks_policy.failover})
    text = json.dumps(shared, sort_keys=True, default=datetime.isoformat)
    return hashlib.blake2b(text.encode(), digest_size=2).hexdigest()


def to_json(settings: NodeSettings) -> str:
    """Write settings for another process of this node; the text holds secrets, never log it."""
    return json.dumps(asdict(settings), default=datetime.isoformat)


def from_json(text: str) -> NodeSettings:
    """Read what `to_json` wrote.

    Errors: KeyError, TypeError or ValueError for any other text; both ends are one version.
    """
    raw: dict[str, Any] = json.loads(text)
    return NodeSettings(
        **raw
        | {
            "program": _program(raw["program"]),
            "health": _health(raw["health"]),
            "hooks": _hooks(raw["hooks"]),
            "trigger": _trigger(raw["trigger"]),
            "policy": _policy(raw["policy"]),
            "once": _once(raw["once"]),
            "unit": None if raw["unit"] is None else UnitSettings(**raw["unit"]),
            "tasks": tuple(_task(each) for each in raw["tasks"]),
            "tasks_policy": TasksPolicySettings(**raw["tasks_policy"]),
            "checkpoints": _checkpoints(raw["checkpoints"]),
            "database": DatabaseSettings(**raw["database"]),
            "warnings": tuple(raw["warnings"]),
        }
    )


def _program(raw: Mapping[str, Any] | None) -> ProgramSettings | None:
    if raw is None:
        return None
    argv = None if raw["argv"] is None else tuple(raw["argv"])
    forward = tuple(raw["forward_signals"])
    return ProgramSettings(**{**raw, "argv": argv, "forward_signals": forward})


def _health(raw: Mapping[str, Any] | None) -> HealthSettings | None:
    if raw is None:
        return None
    argv = None if raw["argv"] is None else tuple(raw["argv"])
    return HealthSettings(**{**raw, "argv": argv})


def _checkpoints(raw: Mapping[str, Any]) -> CheckpointSettings:
    return CheckpointSettings(**{**raw, "disks": tuple(raw["disks"])})


def _hooks(raw: Mapping[str, Any] | None) -> HookSettings | None:
    if raw is None:
        return None
    argvs = {name: tuple(it) for name, it in raw.items() if isinstance(it, list)}
    return HookSettings(**{**raw, **argvs})


def _trigger(raw: Mapping[str, Any] | None) -> Trigger | None:
    if raw is None:
        return None
    moments = {key: datetime.fromisoformat(raw[key]) for key in MOMENTS if raw[key] is not None}
    return Trigger(**{**raw, **moments})


def _once(raw: Mapping[str, Any] | None) -> OnceSettings | None:
    return None if raw is None else OnceSettings(**{**raw, "slot": _moment(raw["slot"])})


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _policy(raw: Mapping[str, Any]) -> Policy:
    retry = raw["retry"]
    return Policy(**{**raw, "retry": None if retry is None else Retry(**retry)})


def _task(raw: Mapping[str, Any]) -> TaskDef:
    return TaskDef(
        **{
            **raw,
            "nodes": tuple(raw["nodes"]),
            "on_partition": OnPartition(raw["on_partition"]),
            "on_done": OnDone(raw["on_done"]),
        }
    )

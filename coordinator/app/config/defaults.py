"""Conversion of checked models to plain settings, with the effective value of every default."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import SecretStr

from coordinator.app.config.joined_rules import hosts_tasks
from coordinator.app.config.model import libpq
from coordinator.app.config.model import values as config_values
from coordinator.app.config.model.database import DatabaseTable
from coordinator.app.config.model.file import ConfigFile, RunOptions
from coordinator.app.config.model.program import ProgramTable
from coordinator.app.config.model.side_runs.health import HealthTable
from coordinator.app.config.model.side_runs.hooks import HooksTable
from coordinator.app.config.model.table import plain
from coordinator.app.config.settings import (
    CheckpointSettings,
    DatabaseSettings,
    HealthSettings,
    HookSettings,
    NodeSettings,
    ProgramSettings,
    TasksPolicySettings,
    config_hash,
)
from coordinator.app.config.task_spec import task_of
from coordinator.protocol.messages.schedule import Policy, Retry, Trigger
from coordinator.protocol.rules.timing import Timing
from coordinator.store.driver import password_file


class KeyRefusedError(ValueError):
    """Error of a key of [databaseConfig] that shows only once all keys are known."""

    def __init__(self, key: str, rule: str) -> None:
        super().__init__(rule)
        self.key = key
        self.rule = rule


def settled(
    config: ConfigFile,
    options: RunOptions,
    database: DatabaseSettings,
    *,
    origins: dict[str, str],
    path: str | None,
    warnings: tuple[str, ...],
    commanded: bool,
) -> NodeSettings:
    """Return the settings of one node.

    commanded: the program came from the command line, and then its end is the node's end.
    """
    timing = Timing(
        liveness_s=config.liveness_check_interval,
        heartbeat_s=config.heartbeat_frequency,
        stop_timeout_s=-1.0 if config.stop_timeout is None else config.stop_timeout,
    )
    program = _program(config.program)
    trigger = None if config.trigger is None else plain(Trigger, config.trigger)
    retry = None if config.retry_config is None else plain(Retry, config.retry_config)
    policy = plain(Policy, config.task_policy, retry=retry)
    tasks_policy = _tasks_policy(config)
    return plain(
        NodeSettings,
        config,
        options,
        stop_timeout_s=timing.stop_timeout_s,
        priority=0 if options.observe else config.priority,
        on_exit=config.program.on_exit or ("stop" if commanded else "restart"),
        program=program,
        health=_health(config.health),
        hooks=_hooks(config.hooks),
        trigger=trigger,
        policy=policy,
        hosts_tasks=hosts_tasks(config),
        tasks=tuple(task_of(each, failover=config.tasks_policy.failover) for each in config.tasks),
        tasks_policy=tasks_policy,
        checkpoints=plain(
            CheckpointSettings,
            config.checkpoints,
            disks=tuple(each.url for each in config.disks),
        ),
        database=database,
        # As flock has it: no seconds are no waiting, and a free token is taken.
        nonblock=options.nonblock or options.wait == 0,
        wait_s=options.wait or None,
        config_path=None if path is None else os.path.abspath(path),
        origins=origins,
        warnings=warnings,
        config_hash=config_hash(
            intervals_s=(timing.heartbeat_s, timing.liveness_s, timing.stop_timeout_s),
            program=program,
            trigger=trigger,
            policy=policy,
            tasks_policy=tasks_policy if hosts_tasks(config) else None,
        ),
    )


def database_settings(
    table: DatabaseTable,
    environ: Mapping[str, str],
    *,
    described: bool,
    require_database: bool,
    liveness_s: float,
    patient: bool = False,
) -> DatabaseSettings:
    """Return the settings of the database.

    described: the file or the environment speaks of a database, be it without a host.
    patient: one command was told to wait longer than a node ever may; that is no mistake.
    Errors: KeyRefusedError names the key.
    """
    timeout_s = table.connect_timeout
    asked = "connect_timeout" in table.model_fields_set and not patient
    if asked and timeout_s >= liveness_s:
        raise KeyRefusedError("connectTimeout", "must be shorter than livenessCheckInterval")
    given = _given(table)
    wants_embedded = table.embedded not in (None, False)
    described = bool(given) or (described and table.embedded is None)
    by_libpq = libpq.libpq_names(environ)
    named = not wants_embedded and (described or by_libpq is not None)
    forbidden = require_database or table.embedded is False
    if forbidden and not named:
        rule = "no database is named, and the embedded one is forbidden; set COORD_DATABASE_URL"
        raise KeyRefusedError("url", rule)
    found: dict[str, str] = {}
    if named:
        default_host = described and "url" not in given
        try:
            found = libpq.parameters(given, environ, default_host=default_host)
        except ValueError as error:
            raise KeyRefusedError("url" if "url" in given else "port", str(error)) from None
    return plain(
        DatabaseSettings,
        table,
        conninfo=libpq.conninfo(found),
        named=named,
        require_database=forbidden,
        label=libpq.label(found, environ) if named else "",
        connect_timeout_s=min(timeout_s, liveness_s),
    )


def _given(table: DatabaseTable) -> dict[str, str]:
    """Return the keys that describe the connection, by their names in the file."""
    given: dict[str, str] = {}
    for key in (*libpq.WHOLE, *libpq.PARTS, *libpq.CREDENTIALS):
        value: object = getattr(table, "password_file" if key == "passwordFile" else key)
        match value:
            case SecretStr():
                given[key] = value.get_secret_value()
            case tuple():
                given[key] = ",".join(value)
            case str():
                given[key] = value
            case _:
                pass  # not given
    if path := given.pop("passwordFile", None):
        try:
            password_file.read_password(path)
        except ValueError as error:
            shown = path if path.isprintable() else repr(path)
            raise KeyRefusedError("passwordFile", f"{error} ({shown})") from None
        # Read anew for each connection; a node has another directory than its start.
        given[password_file.KEY] = password_file.MARK + os.path.abspath(path)
    return given


def _program(table: ProgramTable) -> ProgramSettings | None:
    if table.command is None and table.callable is None:
        return None
    argv = table.command
    if isinstance(argv, str):
        argv = (argv,) if table.shell else config_values.arguments(argv)
    return plain(ProgramSettings, table, argv=argv)


def _hooks(table: HooksTable | None) -> HookSettings | None:
    if table is None:
        return None
    return plain(
        HookSettings,
        table,
        before_start=_argv(table.before_start),
        after_stop=_argv(table.after_stop),
        on_change=_argv(table.on_change),
        # Read anew for each delivery; a node has another directory than its start.
        webhook_token_file=_whole_path(table.webhook_token_file),
        webhook_secret_file=_whole_path(table.webhook_secret_file),
    )


def _whole_path(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _argv(command: tuple[str, ...] | str | None) -> tuple[str, ...] | None:
    return config_values.arguments(command) if isinstance(command, str) else command


def _health(table: HealthTable | None) -> HealthSettings | None:
    if table is None:
        return None
    return plain(HealthSettings, table, argv=_argv(table.command))


def _tasks_policy(config: ConfigFile) -> TasksPolicySettings:
    """Return the policy; times that the file does not set follow from the node's intervals."""
    table, silence_s = config.tasks_policy, config.liveness_check_interval
    times = {
        "to_member_s": (table.to_member, 2 * silence_s),
        "late_within_s": (table.late_within, 10 * silence_s),
        "grace_s": (table.observer_grace, 2 * config.heartbeat_frequency),
    }
    following = {name: default for name, (said, default) in times.items() if said is None}
    return plain(TasksPolicySettings, table, **following)

"""From checked models to plain settings: the effective value of every default."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import SecretStr

from coordinator.app.config.joined_rules import hosts_tasks
from coordinator.app.config.model import libpq
from coordinator.app.config.model import values as config_values
from coordinator.app.config.model.file import ConfigFile, DatabaseTable, RunOptions
from coordinator.app.config.model.table import plain
from coordinator.app.config.model.tasks import ProgramTable
from coordinator.app.config.settings import (
    DatabaseSettings,
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
    """A key of [databaseConfig] that only shows itself wrong once all of them are known."""

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
    """Put the settings of one node together.

    commanded: the program came from the command line, and then its end is the node's end.
    """
    timing = Timing(
        liveness_s=config.liveness_check_interval,
        heartbeat_s=config.heartbeat_frequency,
        stop_timeout_s=-1.0 if config.stop_timeout is None else config.stop_timeout,
    )
    program = _program(config.program)
    trigger = None if config.trigger is None else plain(config.trigger, Trigger)
    policy = _policy(config)
    tasks_policy = _tasks_policy(config)
    return NodeSettings(
        task_id=config.task_id,
        group_id=config.group_id,
        heartbeat_s=timing.heartbeat_s,
        liveness_s=timing.liveness_s,
        stop_timeout_s=timing.stop_timeout_s,
        priority=0 if options.observe else config.priority,
        on_exit=config.program.on_exit or ("stop" if commanded else "restart"),
        program=program,
        trigger=trigger,
        policy=policy,
        hosts_tasks=hosts_tasks(config),
        tasks=tuple(task_of(each, failover=config.tasks_policy.failover) for each in config.tasks),
        tasks_policy=tasks_policy,
        database=database,
        isolation=config.isolation,
        log_level=config.log.level,
        log_format=config.log.format,
        # As flock has it: no seconds are no waiting, and a free token is taken.
        nonblock=options.nonblock or options.wait == 0,
        wait_s=options.wait or None,
        conflict_exit_code=options.conflict_exit_code,
        pass_database=options.pass_database,
        listen=config.http.listen,
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
    """Settle which database is meant.

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
    return DatabaseSettings(
        conninfo=libpq.conninfo(found),
        schema=table.schema_name,
        auto_migrate=table.auto_migrate,
        embedded=table.embedded,
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
            raise KeyRefusedError("passwordFile", f"{error} ({path})") from None
        # Read anew for each connection; a node has another directory than its start.
        given[password_file.KEY] = password_file.MARK + os.path.abspath(path)
    return given


def _program(table: ProgramTable) -> ProgramSettings | None:
    if table.command is None and table.callable is None:
        return None
    argv = table.command
    if isinstance(argv, str):
        argv = (argv,) if table.shell else config_values.arguments(argv)
    return ProgramSettings(
        argv=argv,
        callable=table.callable,
        shell=table.shell,
        cwd=table.cwd,
        forward_signals=table.forward_signals,
    )


def _policy(config: ConfigFile) -> Policy:
    retry = config.retry_config
    return plain(config.task_policy, Policy, retry=None if retry is None else plain(retry, Retry))


def _tasks_policy(config: ConfigFile) -> TasksPolicySettings:
    table, silence_s = config.tasks_policy, config.liveness_check_interval
    return TasksPolicySettings(
        failover=table.failover,
        to_member_s=2 * silence_s if table.to_member is None else table.to_member,
        late_max=table.late_max,
        late_within_s=10 * silence_s if table.late_within is None else table.late_within,
        grace_s=2 * config.heartbeat_frequency
        if table.observer_grace is None
        else table.observer_grace,
        commands_listed=table.commands == "listed",
    )

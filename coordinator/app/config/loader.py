"""Load Config.toml, COORD_* and flags: the settings of one node, or a list of all problems.

Order: flag > COORD_* > Config.toml > libpq's own sources (PG*, service file, password file) >
default > the embedded server, and that one only when nothing names a database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from coordinator.app.config.defaults import KeyRefusedError, database_settings, settled
from coordinator.app.config.joined_rules import joined_problems
from coordinator.app.config.model import libpq
from coordinator.app.config.model import values as config_values
from coordinator.app.config.model.file import ConfigFile, RunOptions
from coordinator.app.config.model.json_schema import json_schema, known_keys, run_keys
from coordinator.app.config.model.names import misspelled
from coordinator.app.config.model.table import Keys, Table
from coordinator.app.config.problems import (
    SECRET_KEYS,
    Places,
    Problem,
    in_order,
    is_usage,
    place_of,
    problems_of,
)
from coordinator.app.config.schedule_warnings import schedule_warnings
from coordinator.app.config.settings import DatabaseSettings, NodeSettings
from coordinator.app.config.show import origins, rows
from coordinator.app.config.sources import (
    Sources,
    combine,
    nested,
    read_sources,
    text_problems,
)
from coordinator.app.config.task_spec import trigger_in
from coordinator.errors import ConfigError, TimingError, UsageError
from coordinator.protocol.messages.schedule import Trigger
from coordinator.protocol.rules.timing import Timing

Model = TypeVar("Model", bound=Table)

#: Keys that Timing joins, in the order in which its message may name them.
TIMING_KEYS = ("livenessCheckInterval", "heartbeatFrequency", "stopTimeout")
DEFAULTS = NodeSettings(task_id="")
#: Settings that name the database and the group a command looks at.
LOOKING_KEYS = ("databaseConfig", "groupId", "requireDatabase")
#: Settings of one run of a command in a group of its own: not the group of the file's service.
ALONE_KEYS = (
    *("databaseConfig", "requireDatabase", "taskId", "isolation", "log", "program"),
    *("heartbeatFrequency", "livenessCheckInterval", "stopTimeout"),
    *("conflictExitCode", "passDatabase"),
)
#: Variables that may stand alone without meaning that there is a database somewhere.
NAMELESS_VARIABLES = {"autoMigrate", "connectTimeout", "embedded", "schema"}


def load(
    path: str | None,
    *,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    argv: Sequence[str] = (),
    now: datetime | None = None,
    looking: bool = False,
    alone: bool = False,
) -> NodeSettings:
    """Return the settings of one node.

    Shapes: flags maps a key of the file ("databaseConfig.url"), or one of RunOptions, to its
            value; None means not given. argv is the command after "--". looking: read only what
            a look at the database needs; everything else is its default, right or wrong. alone:
            read only what one run of a command needs, beside whatever else the file describes.
    Errors: ConfigError with every problem on a line of its own, and no secret in any.
    """
    sources = read_sources(path, flags, environ, argv)
    if looking:
        sources = sources.only(*LOOKING_KEYS)
    if alone:
        sources = sources.only(*ALONE_KEYS)
        sources = replace(sources, file=sources.file.without("program"))
    _refuse_visible_password(sources)
    values, places = combine(sources)
    problems = text_problems(values) + _clashes(sources)

    now = now or datetime.now(UTC)
    run_values = _run_values(sources)
    document = nested({keys: it for keys, it in values.items() if keys not in run_values})
    config = _validated(ConfigFile, document, problems)
    options = _validated(RunOptions, nested(run_values), problems)
    problems += _table_problems(document, problems)
    if not problems and config is not None and options is not None:
        problems += joined_problems(config, options, places, now)

    if not problems and config is not None and options is not None:
        patient = looking or "connectTimeout" in sources.flags.table("databaseConfig")
        database = _database(config, options, sources, environ, problems, patient=patient)
        if database is not None:
            settings = settled(
                config,
                options,
                database,
                origins=origins(values, places, environ),
                path=sources.path,
                warnings=(
                    *_warnings(sources, environ),
                    *_tls_warnings(
                        database, environ, {keys: places[keys] for keys in values if keys in places}
                    ),
                ),
                commanded=bool(argv),
            )
            return replace(
                settings, warnings=(*settings.warnings, *_schedule_warnings(settings, places, now))
            )
    otherwise = sources.path or "settings"
    lines = [problem.line(places, otherwise) for problem in in_order(problems, places)]
    on_line = all(is_usage(problem.place(places) or otherwise) for problem in problems)
    raise (UsageError if on_line else ConfigError)("\n".join(dict.fromkeys(lines)))


def _run_values(sources: Sources) -> dict[Keys, object]:
    """Pick what belongs to one start; in the file such a key is as unknown as any other."""
    return {
        keys: value
        for layer in (sources.environ, sources.flags)
        for keys, value in layer.values.items()
        if len(keys) == 1 and keys[0] in run_keys()
    }


def show(settings: NodeSettings) -> list[tuple[str, str, str]]:
    """Return key, value without secrets, and origin of every setting, in the file's order."""
    return rows(settings)


def schema() -> dict[str, Any]:
    """Return the JSON schema of Config.toml."""
    return json_schema()


def _validated(
    model: type[Model], document: dict[str, object], problems: list[Problem]
) -> Model | None:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems += problems_of(error, known_keys())
        return None


def _refuse_visible_password(sources: Sources) -> None:
    """Refuse a password on the command line: every user of the machine could read it."""
    try:
        found = libpq.url_parameters(str(sources.flags.table("databaseConfig")["url"]))
    except (KeyError, ValueError):
        return  # no URL, or one that the models refuse
    if found.get("password") or found.get("sslpassword"):
        raise UsageError(
            "--database-url: must not hold a password, which other users could read in the list of"
            " processes; give the URL as COORD_DATABASE_URL, or the password in PGPASSFILE or"
            " COORD_DATABASE_PASSWORD_FILE"
        )


def _clashes(sources: Sources) -> list[Problem]:
    return [
        Problem(path=("databaseConfig", key), rule=rule)
        for layer in sources.layers
        for key, rule in libpq.clashes(layer.table("databaseConfig")).items()
    ]


def _table_problems(document: Mapping[str, object], problems: Sequence[Problem]) -> list[Problem]:
    """Check the rules that join tables, or keys of the outermost one."""
    found = []
    if isinstance(document.get("trigger"), dict):
        program = document.get("program")
        if not isinstance(program, dict) or not {"command", "callable"} & program.keys():
            found.append(Problem(path=("trigger",), rule="needs [program] command or callable"))
    if not {problem.path[0] for problem in problems} & set(TIMING_KEYS):
        found += _timing_problems(document)
    return found


def _timing_problems(document: Mapping[str, object]) -> list[Problem]:
    given = {key: config_values.duration_s(document[key]) for key in TIMING_KEYS if key in document}
    try:
        Timing(
            liveness_s=given.get("livenessCheckInterval", DEFAULTS.liveness_s),
            heartbeat_s=given.get("heartbeatFrequency", DEFAULTS.heartbeat_s),
            stop_timeout_s=given.get("stopTimeout", -1.0),
        )
    except TimingError as error:
        # The message begins with a key. Where that one is a default, another one was changed.
        key, _, rule = str(error).partition(" ")
        place = key if key in given else next(iter(given), key)
        return [Problem(path=(key,), rule=rule, at=(place,), gap=" ")]
    return []


def _database(
    config: ConfigFile,
    options: RunOptions,
    sources: Sources,
    environ: Mapping[str, str],
    problems: list[Problem],
    *,
    patient: bool,
) -> DatabaseSettings | None:
    described = bool(sources.environ.table("databaseConfig").keys() - NAMELESS_VARIABLES)
    described = described or any(keys[0] == "databaseConfig" for keys in sources.file.values)
    try:
        database = database_settings(
            config.database_config,
            environ,
            described=described,
            require_database=options.require_database,
            liveness_s=config.liveness_check_interval,
            patient=patient,
        )
    except KeyRefusedError as error:
        problems.append(Problem(path=("databaseConfig", error.key), rule=error.rule))
        return None
    return database


def _warnings(sources: Sources, environ: Mapping[str, str]) -> tuple[str, ...]:
    lines = list(misspelled(environ))
    path = sources.path
    secrets = [keys for keys in SECRET_KEYS if keys in sources.file.values]
    if path is not None and secrets and libpq.readable_by_others(path):
        key = ".".join(secrets[0])
        lines.append(
            f"{sources.file.places[secrets[0]]}: {key}: other users can read this file;"
            f" run chmod 600 {path}, or keep the password in ~/.pgpass"
        )
    return tuple(lines)


def _schedule_warnings(settings: NodeSettings, places: Places, now: datetime) -> tuple[str, ...]:
    """Return warnings about schedules that never run, or run at once as their moment has passed."""
    triggers: list[tuple[tuple[str | int, ...], str, Trigger | None]] = [
        (("trigger",), "trigger", settings.trigger),
        *(
            (("tasks", index, "trigger"), f"task {task.name}", trigger_in(task.spec))
            for index, task in enumerate(settings.tasks)
        ),
    ]
    return tuple(
        f"{place_of(path, places) or 'settings'}: {what}: {line}"
        for path, what, trigger in triggers
        for line in schedule_warnings(trigger, now)
    )


def _tls_warnings(
    database: DatabaseSettings, environ: Mapping[str, str], places: Places
) -> tuple[str, ...]:
    """Return a warning if a man in the middle could read the password and forge answers."""
    if not database.named:
        return ()
    found = libpq.url_parameters(database.conninfo) if database.conninfo else {}
    unverified = libpq.unverified(found, environ)
    if unverified is None:
        return ()
    mode, host = unverified
    keys = [("databaseConfig", key) for key in ("sslmode", "url", "host")]
    place = next((places[key] for key in keys if key in places), "env PGHOST")
    return (
        f"{place}: databaseConfig.sslmode: {mode!r} does not prove that {host} is the database;"
        ' set sslmode = "verify-full" and sslrootcert',
    )

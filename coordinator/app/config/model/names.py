"""The names that settings have outside of Config.toml: files, variables, flags."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

Keys = tuple[str, ...]

DEFAULT_FILE = "Config.toml"
#: Where a package or an administrator puts it; read where there is none in the working directory.
SYSTEM_FILE = "/etc/coord/Config.toml"

ENVIRONMENT: Mapping[str, Keys] = {
    "COORD_TASK_ID": ("taskId",),
    "COORD_GROUP_ID": ("groupId",),
    "COORD_HEARTBEAT_FREQUENCY": ("heartbeatFrequency",),
    "COORD_LIVENESS_CHECK_INTERVAL": ("livenessCheckInterval",),
    "COORD_STOP_TIMEOUT": ("stopTimeout",),
    "COORD_PRIORITY": ("priority",),
    "COORD_ISOLATION": ("isolation",),
    "COORD_HOSTS_TASKS": ("hostsTasks",),
    "COORD_LOG_LEVEL": ("log", "level"),
    "COORD_LOG_FORMAT": ("log", "format"),
    "COORD_LISTEN": ("http", "listen"),
    "COORD_AUTO_MIGRATE": ("databaseConfig", "autoMigrate"),
    "COORD_DATABASE_URL": ("databaseConfig", "url"),
    "COORD_DATABASE_SERVICE": ("databaseConfig", "service"),
    "COORD_DATABASE_HOST": ("databaseConfig", "host"),
    "COORD_DATABASE_PORT": ("databaseConfig", "port"),
    "COORD_DATABASE_USER": ("databaseConfig", "user"),
    "COORD_DATABASE_PASSWORD": ("databaseConfig", "password"),
    "COORD_DATABASE_PASSWORD_FILE": ("databaseConfig", "passwordFile"),
    "COORD_DATABASE_DATABASE": ("databaseConfig", "database"),
    "COORD_DATABASE_SCHEMA": ("databaseConfig", "schema"),
    "COORD_DATABASE_SSLMODE": ("databaseConfig", "sslmode"),
    "COORD_DATABASE_SSLROOTCERT": ("databaseConfig", "sslrootcert"),
    "COORD_DATABASE_SSLCERT": ("databaseConfig", "sslcert"),
    "COORD_DATABASE_SSLKEY": ("databaseConfig", "sslkey"),
    "COORD_DATABASE_EMBEDDED": ("databaseConfig", "embedded"),
    "COORD_DATABASE_CONNECT_TIMEOUT": ("databaseConfig", "connectTimeout"),
    "COORD_REQUIRE_DATABASE": ("requireDatabase",),
    "COORD_PASS_DATABASE": ("passDatabase",),
    "COORD_OBSERVE": ("observe",),
}
#: Ours too, but no settings of a node: what programs get, options of commands, the embedded server.
OTHER_VARIABLES = (
    *("COORD_CONFIG", "COORD_GROUP", "COORD_NODE", "COORD_TERM", "COORD_TASK", "COORD_SESSION"),
    *(
        "COORD_OPTIONS",
        "COORD_TASK_SPEC",
        "COORD_TASK_STOP_TIMEOUT",
        "COORD_SCHEDULED_AT",
        "COORD_RUN_COUNT",
    ),
    *("COORD_RUN_ID", "COORD_TRUST_FD", "COORD_SETTINGS_FD"),
    *("COORD_OUTPUT", "COORD_TIME", "COORD_COLOR", "COORD_TIMEOUT", "COORD_QUIET"),
    *("COORD_VERBOSE", "COORD_PG_BINDIR", "COORD_EMBEDDED_ROOT"),
)
#: Names that other programs have for some of ours, behind COORD_.
ALIASES: Mapping[str, str] = {
    "DATABASE_NAME": "COORD_DATABASE_DATABASE",
    "DATABASE_DBNAME": "COORD_DATABASE_DATABASE",
    "DB_NAME": "COORD_DATABASE_DATABASE",
    "NODE_ID": "COORD_TASK_ID",
}
#: A variable that resembles one of ours less than this is named without a suggestion.
NEAR_CUTOFF = 0.7
FLAGS: Mapping[Keys, str] = {
    ("groupId",): "--group",
    ("databaseConfig", "url"): "--database-url",
    ("databaseConfig", "connectTimeout"): "--timeout",
    ("hostsTasks",): "--tasks",
    ("program", "onExit"): "--restart",
    ("log", "level"): "-q or -v",
    ("log", "format"): "--log-format",
    ("http", "listen"): "--listen",
}
#: Flags without a --no- form: False means that they were not given.
SWITCHES = (
    *("nonblock", "observe", "requireDatabase", "passDatabase", "program.shell", "hostsTasks"),
)


def flag_name(keys: Keys) -> str:
    """Return the flag that sets a key."""
    words = re.sub(r"([A-Z])", lambda match: "-" + match[1].lower(), keys[-1])
    return FLAGS.get(keys, f"--{words}")


def misspelled(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Name the COORD_* variables that mean nothing; one of them may be the database's."""
    known = (*ENVIRONMENT, *OTHER_VARIABLES)
    lines = []
    for variable in sorted(environ):
        if not variable.startswith("COORD_") or variable.startswith("COORD_TEST_"):
            continue
        if variable not in known:
            close = difflib.get_close_matches(variable, known, n=1, cutoff=NEAR_CUTOFF)
            near = ALIASES.get(variable.removeprefix("COORD_")) or next(iter(close), None)
            hint = f"; did you mean {near}?" if near else ""
            lines.append(f"env {variable}: no variable of coord{hint}")
    return tuple(lines)

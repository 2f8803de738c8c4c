"""The names that settings have outside of Config.toml: variables and flags."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from coordinator.app.config.model.file import ConfigFile, RunOptions
from coordinator.app.config.model.table import Key, Keys, keys_of

SETTINGS: Mapping[Keys, Key] = {
    each.keys: each for model in (ConfigFile, RunOptions) for each in keys_of(model)
}
ENVIRONMENT: Mapping[str, Keys] = {
    each.setting.env: keys for keys, each in SETTINGS.items() if each.setting.env
}
#: Flags without a --no- form: False means that they were not given.
SWITCHES = tuple(
    ".".join(keys) for keys, each in SETTINGS.items() if each.setting.flags and each.type is bool
)
#: Ours too, but no settings of a node: what programs get, options of commands, the embedded server.
OTHER_VARIABLES = (
    *("COORD_CONFIG", "COORD_GROUP", "COORD_NODE", "COORD_TERM", "COORD_TASK", "COORD_SESSION"),
    *(
        "COORD_OPTIONS",
        "COORD_TASK_SPEC",
        "COORD_TASK_STOP_TIMEOUT",
        "COORD_SCHEDULED_AT",
        "COORD_RUN_COUNT",
        "COORD_STATE_FILE",
        "COORD_CHECKPOINT_DIR",
        "COORD_LAUNCHER_FD",
    ),
    *("COORD_HOOK", "COORD_ROLE", "COORD_HOLDER", "COORD_HOLDER_ADDRESS", "COORD_REASON"),
    *("COORD_ONE_OFF", "COORD_ONE_OFF_UNSET"),
    *("COORD_RUN_ID", "COORD_TRUST_FD", "COORD_SETTINGS_FD", "COORD_GATE"),
    *("COORD_ONE_OFF", "COORD_ONE_OFF_UNSET"),
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


def run_options() -> tuple[Key, ...]:
    """Return the settings that `coord run` has a flag for, and no other command."""
    return tuple(
        each for each in SETTINGS.values() if each.setting.flags and not each.setting.everywhere
    )


def flag_name(keys: Keys) -> str:
    """Return the flag that sets a key."""
    flags = SETTINGS[keys].setting.flags if keys in SETTINGS else ()
    if not flags:
        words = re.sub(r"([A-Z])", lambda match: "-" + match[1].lower(), keys[-1])
        return f"--{words}"
    return flags[-1] if flags[-1].startswith("--") else " or ".join(flags)


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

"""Rows of `coord config show`: the settings of a node, key by key, with the origin of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from coordinator.app.config.model.names import SETTINGS
from coordinator.app.config.model.table import Keys
from coordinator.app.config.problems import Places, place_of
from coordinator.app.config.settings import NodeSettings, by_key
from coordinator.app.config.task_spec import spec_text
from coordinator.store.driver import password_file
from coordinator.web.webhook import target

HIDDEN = "********"
BY_LIBPQ = "(read by libpq)"
#: Keys that libpq reads by itself if neither the file nor COORD_* nor a flag sets them.
LIBPQ_VARIABLES = {
    "host": ("PGHOST", "PGHOSTADDR"),
    "port": ("PGPORT",),
    "user": ("PGUSER",),
    "database": ("PGDATABASE",),
    "password": ("PGPASSWORD",),
    "passwordFile": ("PGPASSFILE",),
    "service": ("PGSERVICE",),
    "sslmode": ("PGSSLMODE",),
    "sslrootcert": ("PGSSLROOTCERT",),
    "sslcert": ("PGSSLCERT",),
    "sslkey": ("PGSSLKEY",),
}


#: Every key of the file in its order, then those of one start; tasks there are any number of.
EVERY_KEY = tuple(keys for keys in SETTINGS if keys[0] not in ("tasks", "disks"))


def origins(
    values: Mapping[Keys, object], places: Places, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the origin of every key; "default" if it is not set."""
    found = {}
    for keys in EVERY_KEY:
        origin = "default"
        if keys in values:
            origin = place_of(keys, places) or "default"
        elif keys[0] == "databaseConfig":
            variables = LIBPQ_VARIABLES.get(keys[1], ())
            origin = next((f"env {each}" for each in variables if environ.get(each)), origin)
        found[".".join(keys)] = origin
    found |= _task_origins(values.get(("tasks",)), places)
    disks = values.get(("disks",))
    found |= {
        f"disks.{index}": place_of(("disks", index), places) or "default"
        for index in range(len(disks) if isinstance(disks, list) else 0)
    }
    if ("tasks",) in values and ("hostsTasks",) not in values:
        found["hostsTasks"] = place_of(("tasks",), places) or "default"
    if ("observe",) in values:
        found["priority"] = found["observe"]
    return found


def rows(settings: NodeSettings) -> list[tuple[str, str, str]]:
    """Return (key, value without secrets, origin) of every setting."""
    effective = _effective(settings) | _database(settings)
    tasks = {f"tasks.{task.name}": spec_text(task.spec) for task in settings.tasks}
    tasks |= {f"disks.{index}": url for index, url in enumerate(settings.checkpoints.disks)}
    return [
        (key, _text(value), settings.origins.get(key, "default"))
        for key, value in (
            *((".".join(keys), effective.get(".".join(keys))) for keys in EVERY_KEY),
            *tasks.items(),
        )
    ]


def _task_origins(raw: object, places: Places) -> dict[str, str]:
    """Return the place where each task begins; errors of the file are reported elsewhere."""
    tables = raw if isinstance(raw, list) else []
    return {
        f"tasks.{table['name']}": place_of(("tasks", index), places) or "default"
        for index, table in enumerate(tables)
        if isinstance(table, dict) and isinstance(table.get("name"), str)
    }


def _effective(settings: NodeSettings) -> dict[str, object]:
    """Return the values that are in force, by key."""
    hooks = settings.hooks
    webhook = hooks.webhook if hooks is not None else None
    return by_key(settings) | {
        "hooks.webhook": None if webhook is None else target.shown(webhook),
        "requireDatabase": settings.database.require_database,
        "observe": settings.priority == 0,
    }


def _database(settings: NodeSettings) -> dict[str, object]:
    database = settings.database
    found: dict[str, object] = {}
    if database.embedded is None:
        found["embedded"] = database.use_embedded
    parameters = _parameters(database.conninfo)
    for key in LIBPQ_VARIABLES:
        value = parameters.get({"database": "dbname"}.get(key, key))
        if value is not None:
            found[key] = HIDDEN if key == "password" else value
        elif settings.origins.get(f"databaseConfig.{key}", "").startswith("env PG"):
            found[key] = BY_LIBPQ
    if settings.origins.get("databaseConfig.url", "default") != "default":
        found["url"] = database.label
    path = password_file.path_in(parameters)
    if path is not None:
        found["passwordFile"] = path
    return {f"databaseConfig.{key}": value for key, value in found.items()}


def _parameters(conninfo: str) -> Mapping[str, object]:
    if not conninfo:
        return {}
    from psycopg.conninfo import conninfo_to_dict

    return conninfo_to_dict(conninfo)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case datetime():
            return value.isoformat()
        case tuple():
            return " ".join(value)
        case _:
            return str(value)

"""Setup of a coordinator: its group, its database and its intervals, checked once.

A Setup is a plain value. It is pickled to processes that are spawned, and it opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coordinator.app.config.model.values import (
    NAME,
    NAME_RULE,
    TASK_NAME,
    TASK_NAME_RULE,
    duration_s,
    node_name,
)
from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.errors import ConfigError
from coordinator.protocol.rules.timing import Timing

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

#: A number of seconds, or a text such as "6s" or "2 min", as in Config.toml.
Seconds = float | str

#: Time that `stop` waits for the runs of schedules, as stopTimeout of Config.toml at most.
STOP_S = 10.0
#: Longest name of group and token together, as in the tables.
NAME_LENGTH_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that a coordinator is made from.

    group:    the group whose tokens are held.
    task_id:  the first part of the name under which a process holds tokens.
    conninfo: the database, as libpq reads it; it may hold a password.
    """

    group: str
    task_id: str
    conninfo: str = field(repr=False)
    schema: str
    timing: Timing

    def token_name(self, name: str | None) -> str:
        """Return the full name of a token: the group's own, or `name` below the group.

        Errors: ConfigError for a malformed name.
        """
        full = self.group if name is None else f"{self.group}/{name}"
        if len(full) > NAME_LENGTH_MAX or not (name is None or TASK_NAME.fullmatch(name)):
            raise ConfigError(f"name: {TASK_NAME_RULE} (got {name!r})")
        return full


def setup_of(
    *,
    group_id: str,
    database_url: str,
    task_id: str | None,
    schema: str | None,
    heartbeat_frequency: Seconds,
    liveness_check_interval: Seconds,
) -> Setup:
    """Return the setup that these arguments of a coordinator ask for.

    Errors: ConfigError for a malformed value; TimingError for intervals that cannot keep the
    guarantees.
    """
    task_id = node_name("{hostname}") if task_id is None else task_id
    for key, given in (("group_id", group_id), ("task_id", task_id)):
        if not NAME.fullmatch(given):
            raise ConfigError(f"{key}: {NAME_RULE} (got {given!r})")
    return Setup(
        group=group_id,
        task_id=task_id,
        conninfo=_libpq(database_url),
        schema=schema or DEFAULT_SCHEMA,
        timing=Timing(
            liveness_s=seconds("liveness_check_interval", liveness_check_interval),
            heartbeat_s=seconds("heartbeat_frequency", heartbeat_frequency),
        ),
    )


def setup_from_config(path: str | None, environ: Mapping[str, str] = os.environ) -> Setup:
    """Return the setup that Config.toml, the environment and the defaults describe.

    Errors: ConfigError with every problem of the file.
    """
    from coordinator.app.config.database_choice import resolve
    from coordinator.app.config.loader import load

    settings = load(path, flags={}, environ=environ)
    return Setup(
        group=settings.group_id,
        task_id=settings.task_id,
        conninfo=resolve(settings.database).conninfo,
        schema=settings.database.schema,
        timing=Timing(liveness_s=settings.liveness_s, heartbeat_s=settings.heartbeat_s),
    )


def url_of_engine(engine: Engine | AsyncEngine) -> str:
    """Return the URL that an SQLAlchemy engine connects to, as libpq reads it.

    Errors: ConfigError when the engine is not one for PostgreSQL, or names no database: what is
    only in its `connect_args` or `creator` cannot be seen.
    """
    url = engine.url
    if url.get_backend_name() != "postgresql":
        raise ConfigError(
            f"engine: it connects to {url.get_backend_name()}; coord needs PostgreSQL"
        )
    if not (url.host or url.database or url.query):
        raise ConfigError(
            "engine: its URL names no database (connect_args and creator cannot be seen): give"
            " database_url"
        )
    return _libpq(url.render_as_string(hide_password=False))


def seconds(key: str, given: Seconds) -> float:
    """Return a duration in seconds.

    Errors: ConfigError.
    """
    try:
        found = duration_s(given)
    except ValueError as error:
        raise ConfigError(f"{key}: {error} (got {given!r})") from None
    if found < 0:
        raise ConfigError(f"{key}: must not be negative (got {given!r})")
    return found


def wait_s(timeout: Seconds | None, *, wait: bool) -> float | None:
    """Return the seconds to wait for a token: None waits for ever, 0 does not wait.

    Errors: ConfigError.
    """
    if not wait:
        return 0.0
    return None if timeout is None else seconds("timeout", timeout)


def _libpq(database_url: str) -> str:
    """Return a database's URL without SQLAlchemy's driver, such as +psycopg; a DSN as it is."""
    scheme, mark, rest = database_url.partition("://")
    if mark and "+" in scheme:
        scheme = scheme.partition("+")[0]
    return f"{scheme}{mark}{rest}"

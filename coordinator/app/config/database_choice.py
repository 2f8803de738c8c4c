"""Choice of the database of a command: the named one, or the embedded default."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from coordinator.app.config.settings import (
    DEFAULT_FILE,
    SYSTEM_FILE,
    DatabaseSettings,
    NodeSettings,
)
from coordinator.errors import ConfigError, DatabaseUnreachableError

if TYPE_CHECKING:
    from coordinator.store.embedded.server import Running


#: Label of the embedded server, which only nodes of this machine can see.
EMBEDDED_LABEL = "embedded PostgreSQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A database to connect to.

    label: who and where, without a secret. scope: "server", or "this-machine" when embedded.
    note: the line that a person must see when the embedded server is used; else empty.
    """

    conninfo: str = field(repr=False)
    label: str
    scope: str
    note: str = ""


def resolve(database: DatabaseSettings) -> Resolved:
    """Return the named database, or start the embedded one if none is named.

    Errors: ConfigError when nothing names a database and the embedded one is forbidden or its
    binaries are missing. A named database that does not answer is never replaced.
    """
    if database.named:
        return _named(database)
    root = _embedded_root(database)
    from coordinator.store.embedded import server as embedded

    return _embedded(embedded.start(root))


def look_up(settings: NodeSettings) -> Resolved:
    """Return the named database, or the embedded one if it runs; start nothing.

    Errors: ConfigError if no database is named, DatabaseUnreachableError if the embedded server
    that the configuration asks for does not run.
    """
    database = settings.database
    if database.named:
        return _named(database)
    root = _embedded_root(database)
    from coordinator.store.embedded import server as embedded

    running = embedded.status(root)
    if running is not None:
        return _embedded(running)
    if database.embedded:
        where = root or embedded.known_root()
        place = f" in {where}" if where else ""
        raise DatabaseUnreachableError(
            f"the embedded PostgreSQL{place} does not run; `coord db up` starts it"
        )
    if settings.config_path is None:
        raise ConfigError(
            f"no database is named, and there is no {DEFAULT_FILE} here or in"
            f" {os.path.dirname(SYSTEM_FILE)}: use -c, COORD_CONFIG or COORD_DATABASE_URL"
        )
    raise ConfigError(
        f"{settings.config_path}: names no database, and no embedded server of this user runs:"
        " set [databaseConfig] or COORD_DATABASE_URL, or start a node with `coord run`"
    )


def of_node(database: DatabaseSettings) -> Resolved:
    """Return the database of a node that runs, which was resolved when it started."""
    scope = "this-machine" if database.label == EMBEDDED_LABEL else "server"
    return Resolved(conninfo=database.conninfo, label=database.label, scope=scope)


def _named(database: DatabaseSettings) -> Resolved:
    return Resolved(conninfo=database.conninfo, label=database.label, scope="server")


def _embedded_root(database: DatabaseSettings) -> Path | None:
    if not database.use_embedded:
        raise ConfigError(
            "no database is configured and the embedded one is forbidden (requireDatabase):"
            " set [databaseConfig] or COORD_DATABASE_URL"
        )
    return Path(database.embedded) if isinstance(database.embedded, str) else None


def _embedded(running: Running) -> Resolved:
    note = (
        f"no database configured: using the embedded PostgreSQL {running.version} in"
        f" {running.path} - this machine only; nodes on other machines do not see it."
        " Set [databaseConfig] or COORD_DATABASE_URL."
    )
    return Resolved(
        conninfo=running.conninfo, label=EMBEDDED_LABEL, scope="this-machine", note=note
    )

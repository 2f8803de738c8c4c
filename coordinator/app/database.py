"""Which database a command talks to: the named one, or the embedded default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from coordinator.app.settings import DatabaseSettings
from coordinator.errors import ConfigError


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
    """Return the named database, or start the embedded one when nothing names any.

    Errors: ConfigError when nothing names a database and the embedded one is forbidden or its
    binaries are missing. A named database that does not answer is never replaced.
    """
    if database.named:
        return Resolved(conninfo=database.conninfo, label=database.label, scope="server")
    if not database.use_embedded:
        raise ConfigError(
            "no database is configured and the embedded one is forbidden (requireDatabase):"
            " set [databaseConfig] or COORD_DATABASE_URL"
        )
    from coordinator.store import embedded

    root = Path(database.embedded) if isinstance(database.embedded, str) else None
    running = embedded.start(root)
    note = (
        f"no database configured: using the embedded PostgreSQL {running.version} in"
        f" {running.path} - this machine only; nodes elsewhere will not see it."
        " Set [databaseConfig] or COORD_DATABASE_URL."
    )
    return Resolved(
        conninfo=running.conninfo, label="embedded PostgreSQL", scope="this-machine", note=note
    )

"""Translate a psycopg error: one line, with where it happened, and without a secret.

Knows psycopg only; an SQLAlchemy error is looked through by its `orig`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import conninfo as libpq
from psycopg import pq

from coordinator.errors import (
    ConfigError,
    CoordError,
    DatabaseRefusedError,
    DatabaseUnreachableError,
    SchemaError,
)

#: A failed start-up packet has no SQLSTATE in libpq, so its text must tell. The server words it in
#: its own language; in any but English these become DatabaseUnreachableError.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r"|role \".*?\" does not exist|is not permitted to log in|permission denied for database"
    r"|requires a valid client certificate",
)
_NO_DATABASE = re.compile(r"database \".*?\" does not exist")
#: Messages of libpq and psycopg about a wrong value before any server is asked, be it of a PG*
#: variable, of a service or of a conninfo; and the server's about PGOPTIONS. libpq is not
#: translated unless a program asks for it.
_MISCONFIGURED = re.compile(
    r"invalid (?:port number|integer value|connection option|SSL protocol|require_auth method)"
    r"|invalid \S+ value: |\S+ value \".*\" invalid when |weak sslmode "
    r"|could not match \d+ |could not parse network address |bad value for connect_timeout"
    r"|definition of service \".*\" not found|service file \".*\" not found|in service file "
    r"|unrecognized configuration parameter |invalid value for parameter "
    r"|invalid command-line argument|--\S+ requires a value"
    r"|parameter \".*\" cannot be (?:set|changed) "
)
#: Errors that a missing privilege names: "permission denied for schema app".
_DENIED = re.compile(r"permission denied for (\w+) \"?([^\"\n]+)\"?")
#: Errors of a role that `coord db roles` binds to its groups.
_NOT_ADMITTED = "violates row-level security policy"

#: A standby has more than one word for it.
IN_RECOVERY = ("0A000", "25001")

_GRANTS = {
    "schema": "GRANT USAGE ON SCHEMA {0} TO {1}",
    "table": "GRANT SELECT, INSERT, UPDATE, DELETE ON {0} TO {1}",
    "view": "GRANT SELECT ON {0} TO {1}",
    "sequence": "GRANT USAGE ON SEQUENCE {0} TO {1}",
    "function": "GRANT EXECUTE ON FUNCTION {0} TO {1}",
    "database": "GRANT CREATE ON DATABASE {0} TO {1}",
}


def label(conninfo: str) -> str:
    """Return host:port/database of a conninfo, for people; never anything else of it.

    Errors: ConfigError when it cannot be parsed; libpq's own text would quote the password.
    """
    given = parse(conninfo)
    if "host" not in given and "hostaddr" not in given and "service" in given:
        return f"service {given['service']}"
    given = _from_environment() | given
    hosts = str(given.get("host") or given.get("hostaddr") or "local").split(",")
    ports = str(given.get("port") or "5432").split(",")
    places = [
        f"{host or 'local'}:{ports[index] if len(ports) == len(hosts) else ports[0]}"
        for index, host in enumerate(hosts)
    ]
    database = given.get("dbname") or given.get("user")
    return ",".join(places) + (f"/{database}" if database else "")


def parse(conninfo: str) -> dict[str, object]:
    """Return the keys of a conninfo or URL.

    Errors: ConfigError, without the text that cannot be parsed: it may be a password.
    """
    try:
        return dict(libpq.conninfo_to_dict(conninfo))
    except psycopg.Error:
        raise ConfigError(
            "the database URL cannot be parsed: write postgresql://user@host:5432/database,"
            " with percent-encoding for special characters"
        ) from None


def _from_environment() -> dict[str, object]:
    """Return what libpq takes from PG* variables and PGSERVICE for a conninfo's missing keys."""
    defaults = ((option.keyword, option.val) for option in pq.Conninfo.get_defaults())
    return {keyword.decode(): val.decode() for keyword, val in defaults if val}


def database_error(error: BaseException, where: str = "", role: str = "") -> CoordError:
    """Return our error for one of psycopg's; `raise database_error(error, where) from error`.

    `where` is what `label` returned, put in front; `role` is what `role_of` returned, for a missing
    grant.
    """
    error = getattr(error, "orig", None) or error
    if isinstance(error, CoordError):
        return error
    state = getattr(error, "sqlstate", None) or ""
    text = one_line(str(error))
    kind = ConfigError if _is_clash(error, state) else _kind(state, str(error))
    said = f"{where}: {text}" if where else text
    if kind is DatabaseRefusedError:
        return DatabaseRefusedError(said + _grant(error, role))
    if kind is DatabaseUnreachableError and (state == "25006" or state in IN_RECOVERY):
        said += "; the server is read-only: name the primary, or all hosts of the database"
    if kind is SchemaError:
        return SchemaError(f"{said}; run `coord db upgrade`")
    return kind(said)


def _kind(state: str, text: str) -> type[CoordError]:
    """Return the family of an error by its SQLSTATE, or by its text where there is none."""
    if state.startswith("28") or state == "42501":
        return DatabaseRefusedError
    if state == "3D000":
        return ConfigError
    if state in ("42P01", "42703", "42883", "3F000"):
        return SchemaError
    if state in IN_RECOVERY and "recovery" in text:
        return DatabaseUnreachableError
    if state:
        return DatabaseUnreachableError if _outage(state) else CoordError
    if "Multiple connection attempts failed" in text:
        # As long as one of several hosts may come back, waiting may help.
        attempts = text.split("\n- ")[1:]
        kinds = {_kind("", attempt) for attempt in attempts}
        return kinds.pop() if len(kinds) == 1 else DatabaseUnreachableError
    if _REFUSED.search(text):
        return DatabaseRefusedError
    if _MISCONFIGURED.search(text):
        return ConfigError
    return ConfigError if _NO_DATABASE.search(text) else DatabaseUnreachableError


def _is_clash(error: BaseException, state: str) -> bool:
    """Tell whether a group, or a task, may not have its name, as guards.sql says it."""
    constraint = getattr(getattr(error, "diag", None), "constraint_name", None) or ""
    return state == "23514" and "clash_check" in constraint


def _outage(state: str) -> bool:
    """Tell whether a SQLSTATE says that the server cannot write now, but may later.

    08 connection, 40 a race lost too often, 53 resources, 57 shutdown and time-outs, 58 system,
    25006 a standby, 25P03 and 25P04 a transaction that took too long, 55P03 a lock not got in time.
    """
    families = ("08", "40", "53", "57", "58")
    return state[:2] in families or state in ("25006", "25P03", "25P04", "55P03")


def _grant(error: BaseException, role: str) -> str:
    """Return "; missing: GRANT ..." when the error names what was denied."""
    if _NOT_ADMITTED in str(error):
        return "; this login is not admitted to the group: see group_role and `coord db roles`"
    found = _DENIED.search(str(error))
    if not found or found[1] not in _GRANTS:
        return ""
    missing = _GRANTS[found[1]].format(found[2], role or "the role")
    command = f" (everything that a node needs: `coord db grants {role}`)" if role else ""
    return f"; missing: {missing}{command}"


def role_of(connection: psycopg.Connection[Any] | None) -> str:
    """Return the quoted name that a connection logged in with; "" when there is none."""
    with suppress(psycopg.Error):
        if connection is not None:
            return '"' + connection.info.user.replace('"', '""') + '"'
    return ""


def one_line(text: str) -> str:
    """Return the first line, where the cause stands; the rest are hints for one host each."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    first = lines[0] if lines else "no reason given"
    several = [line for line in lines if line.startswith("- host:")]
    if len(several) > 1:
        return "; ".join(line.rpartition("connection failed: ")[2] for line in several)
    return first.removeprefix("connection failed: ").removeprefix("connection is bad: ")

"""Conversion of the settings that name a database to one libpq conninfo, by libpq's own rules.

The conninfo holds only what the user gave. libpq adds the PG* environment, the service file and
the password file below it, and that is the documented order. PGPASSWORD alone is taken over here,
because the program must not inherit it while the node still needs it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping

from coordinator.app.config.model.values import embedded
from coordinator.store.driver import password_file

#: Each of these names a database by itself; one of a higher layer replaces a lower one as a whole.
WHOLE = ("url", "service")
PARTS = ("host", "port", "user", "database")
CREDENTIALS = ("password", "passwordFile", "sslmode", "sslrootcert", "sslcert", "sslkey")
#: Variables by which libpq itself names a database; the file takes precedence.
LIBPQ_NAMES = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE")
#: Our keys, where they differ from libpq's.
LIBPQ_KEYS = {"database": "dbname"}
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "postgres+psycopg")


def url_parameters(url: str) -> dict[str, str]:
    """Return libpq's keywords that a URL or a key=value text sets.

    Errors: ValueError without any part of the text, which may be a password.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    scheme = SCHEME.match(url)
    if scheme and scheme[2] and scheme[1] not in SCHEMES:
        raise ValueError(f'must begin with "postgresql://", not with "{scheme[1]}://"')
    if scheme and scheme[2]:
        url = "postgresql://" + url[scheme.end() :]
    elif "=" not in url:
        raise ValueError('must be "postgresql://user@host:port/database", or key=value pairs')
    try:
        return {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except (ProgrammingError, ValueError) as error:
        hint = ' (write "%25" for a percent sign)' if "percent" in str(error) else ""
        raise ValueError(f"cannot be read as a URL or key=value pairs by libpq{hint}") from None


def merge(
    file: Mapping[str, object], environ: Mapping[str, object], flags: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object], dict[str, object]]:
    """Drop from each layer what a higher one has replaced: a URL replaces host, port and so on.

    A password of the environment goes with a URL of the command line, because that is the only
    safe way to give one; a password of the file belongs to the file's database alone.
    """
    kept_file, kept_environ = dict(file), dict(environ)
    if _any(environ, WHOLE) or _any(flags, WHOLE):
        kept_file = _without(kept_file, (*WHOLE, *PARTS, *CREDENTIALS))
    if _any(flags, WHOLE):
        kept_environ = _without(kept_environ, (*WHOLE, *PARTS))
    if _any(environ, ("password", "passwordFile")):
        kept_file = _without(kept_file, ("password", "passwordFile"))
    if _names(environ) or _names(flags):
        kept_file = _without(kept_file, ("embedded",))
    if _names(flags):
        kept_environ = _without(kept_environ, ("embedded",))
    if _wants_embedded(environ) or _wants_embedded(flags):
        kept_file = _without(kept_file, (*WHOLE, *PARTS, *CREDENTIALS))
    if _wants_embedded(flags):
        kept_environ = _without(kept_environ, (*WHOLE, *PARTS, *CREDENTIALS))
    return kept_file, kept_environ, dict(flags)


def clashes(layer: Mapping[str, object]) -> dict[str, str]:
    """Name the keys of one layer that contradict each other, each with the rule."""
    found: dict[str, str] = {}
    if "url" in layer:
        found |= {
            key: "cannot be combined with databaseConfig.url"
            for key in ("service", *PARTS)
            if key in layer
        }
    if _wants_embedded(layer) and _any(layer, (*WHOLE, *PARTS, *CREDENTIALS)):
        found["embedded"] = "cannot be combined with keys that name another database"
    return found


def parameters(
    given: Mapping[str, str], environ: Mapping[str, str], *, default_host: bool
) -> dict[str, str]:
    """Return libpq's keywords for what was given: a URL's, then single keys above it.

    default_host: the user described a database without saying where: it is on this machine.
    Errors: ValueError when hosts and ports do not fit together.
    """
    found = url_parameters(given["url"]) if "url" in given else {}
    for key, value in given.items():
        if key != "url" and value:
            found[LIBPQ_KEYS.get(key, key)] = value
    located = _any(found, ("host", "hostaddr", "service"))
    located = located or _any(environ, ("PGHOST", "PGHOSTADDR", "PGSERVICE"))
    if default_host and not located:
        port = {} if "PGPORT" in environ else {"port": "5432"}
        found = {"host": "localhost", **port, **found}
    _check_ports(found)
    hosts = found.get("host") or environ.get("PGHOST", "")
    chosen = "target_session_attrs" in found or "PGTARGETSESSIONATTRS" in environ
    if "," in hosts and not chosen:
        # With several hosts only the writable one is the database; a standby would refuse us.
        # Not read-write: a role whose transactions are read-only by default would find no server.
        found["target_session_attrs"] = "primary"
    serviced = "service" in found or environ.get("PGSERVICE")
    by_file = password_file.path_in(found) is not None
    if not (by_file or serviced or "password" in found) and environ.get("PGPASSWORD"):
        found["password"] = environ["PGPASSWORD"]
    return found


def conninfo(found: Mapping[str, str]) -> str:
    """Write libpq keywords as one conninfo string."""
    return " ".join(f"{key}={_quoted(value)}" for key, value in found.items())


def label(found: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Name the database for people: user@host:port/dbname, and never a secret."""
    service = found.get("service") or environ.get("PGSERVICE")
    host = found.get("host") or found.get("hostaddr") or environ.get("PGHOST", "")
    if service and not host:
        return f"service {service}"
    user = found.get("user") or environ.get("PGUSER", "")
    name = found.get("dbname") or environ.get("PGDATABASE", "")
    ports = (found.get("port") or environ.get("PGPORT") or "5432").split(",")
    hosts = [f"[{each}]" if ":" in each else each for each in (host or "local socket").split(",")]
    ports = [port or "5432" for port in ports]
    if len(ports) != len(hosts):
        ports = [ports[0]] * len(hosts)
    places = ",".join(f"{each}:{port}" for each, port in zip(hosts, ports, strict=True))
    return f"{user}@{places}".removeprefix("@") + (f"/{name}" if name else "")


def unverified(found: Mapping[str, str], environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return sslmode and the first host that anybody between us could pretend to be, if any.

    A service file may say more than we see, so a database that is named by one is not judged.
    """
    mode = found.get("sslmode") or environ.get("PGSSLMODE", "")
    root = found.get("sslrootcert") or environ.get("PGSSLROOTCERT", "")
    if not mode:
        # libpq's own default; for the roots of the system it is the strictest.
        mode = "verify-full" if root == "system" else "prefer"
    if mode == "verify-full" or "service" in found or environ.get("PGSERVICE"):
        return None
    named = found.get("hostaddr") or found.get("host")
    hosts = (named or environ.get("PGHOSTADDR") or environ.get("PGHOST", "")).split(",")
    return next(((mode, host) for host in hosts if not _on_this_machine(host)), None)


def libpq_names(environ: Mapping[str, str]) -> str | None:
    """Return the first PG* variable that names a database."""
    return next((name for name in LIBPQ_NAMES if environ.get(name)), None)


def readable_by_others(path: str) -> bool:
    """Say whether people other than its owner may read a file."""
    try:
        return bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _on_this_machine(host: str) -> bool:
    if not host or host[0] in "/@" or host.lower() in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_ports(found: Mapping[str, str]) -> None:
    ports = found.get("port", "").split(",")
    hosts = (found.get("host") or found.get("hostaddr") or "").split(",")
    if any(port and not (port.isdecimal() and 0 < int(port) < 65536) for port in ports):
        raise ValueError("must have ports from 1 to 65535")
    if len(ports) > 1 and len(ports) != len(hosts):
        raise ValueError(f"has {len(ports)} ports for {len(hosts)} hosts; give one, or one each")


def _quoted(value: str) -> str:
    if value and not re.search(r"[\s'\\]", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _names(layer: Mapping[str, object]) -> bool:
    return _any(layer, (*WHOLE, *PARTS))


def _wants_embedded(layer: Mapping[str, object]) -> bool:
    try:
        return "embedded" in layer and embedded(layer["embedded"]) is not False
    except ValueError:
        return False  # the models say what is wrong with it


def _any(layer: Mapping[str, object], keys: tuple[str, ...]) -> bool:
    return any(key in layer for key in keys)


def _without(layer: Mapping[str, object], keys: tuple[str, ...]) -> dict[str, object]:
    return {key: value for key, value in layer.items() if key not in keys}

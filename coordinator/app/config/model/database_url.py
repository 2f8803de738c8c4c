"""The database as a URL, for programs: few libraries read libpq's key=value text."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from coordinator.app.config.model.libpq import url_parameters

#: Keys that have a place of their own in a URL.
PLACED = ("user", "password", "host", "port", "dbname")


def url_of(conninfo: str) -> str:
    """Return a conninfo as the URL that means the same to libpq.

    The text holds the password, as the conninfo does.
    """
    found = url_parameters(conninfo) if conninfo else {}
    rest = {key: value for key, value in found.items() if key not in PLACED}
    hosts = found.get("host", "").split(",")
    ports = found.get("port", "").split(",")
    if any(host.startswith(("/", "@")) for host in hosts):
        # The directory of a socket has no place before the path.
        places = ""
        rest |= {key: found[key] for key in ("host", "port") if key in found}
    else:
        if len(ports) == 1:
            ports *= len(hosts)
        places = ",".join(map(_place, hosts, ports))
    query = "&".join(f"{key}={quote(value, safe='/,')}" for key, value in rest.items())
    database = quote(found.get("dbname", ""), safe="")
    return f"postgresql://{_who(found)}{places}/{database}" + (f"?{query}" if query else "")


def _who(found: Mapping[str, str]) -> str:
    user, password = quote(found.get("user", ""), safe=""), found.get("password")
    if password:
        user += f":{quote(password, safe='')}"
    return f"{user}@" if user else ""


def _place(host: str, port: str) -> str:
    shown = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"{shown}:{port}" if port else shown

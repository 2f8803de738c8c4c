"""The URL of a webhook: its parts for a request, and its form for people.

Path and query may be secrets (those of chat services are), so people see neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

HIDDEN = "********"
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Place to which a request goes.

    host:  as the resolver takes it. path: with the query. named: host and port, for a header.
    """

    host: str
    port: int
    encrypted: bool
    path: str
    named: str


def target_of(url: str) -> Target:
    """Return the parts of a URL that the configuration has accepted."""
    parts = urlsplit(url)
    assert parts.hostname is not None, "a URL without a host was refused"
    port = parts.port or PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path or "/"
    return Target(
        host=parts.hostname,
        port=port,
        encrypted=parts.scheme == "https",
        path=f"{path}?{parts.query}" if parts.query else path,
        named=host if port == PORTS[parts.scheme] else f"{host}:{port}",
    )


def shown(url: str) -> str:
    """Return a URL without anything that may be secret."""
    parts = urlsplit(url)
    hidden = HIDDEN if parts.path not in ("", "/") or parts.query else ""
    return f"{parts.scheme}://{target_of(url).named}/{hidden}"


def is_private(url: str) -> bool:
    """Say whether nobody on the way can read what is sent: TLS, or this machine alone."""
    found = target_of(url)
    if found.encrypted or found.host == "localhost":
        return True
    try:
        return ip_address(found.host).is_loopback
    except ValueError:
        return False

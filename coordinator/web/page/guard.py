"""Rules for requests of browsers, as pure functions: names, headers, the token of an administrator.

A page on another site can make a browser send requests here. It cannot read the answers, for this
server allows no other origin; it cannot change anything, for a change needs the token in a header
that only our own page sets; and a name of its own that leads here is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Mapping

#: Sent with every answer: nothing is loaded from elsewhere, shown in a frame, or kept.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
#: A shorter token could be guessed.
TOKEN_LENGTH_MIN = 16
#: A longer one would not fit in a header.
TOKEN_LENGTH_MAX = 1024
BEARER = "Bearer "


def host_allowed(host: str, names: Collection[str]) -> bool:
    """Return True if a Host header names this server: by an address, or by one of its names.

    An attacker's own domain that resolves to this machine is a name, so it is refused.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]").lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost") or name in names
    return True


def why_not_ours(headers: Mapping[str, str]) -> str:
    """Return why a request that changes something is none of our page's; empty: it may be.

    Browsers send Sec-Fetch-Site and Origin, other programs need neither.
    """
    site = headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        return f"the request comes from another site ({site})"
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return f"the request comes from another origin ({origin[:100]})"
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return "the body must be application/json"
    return ""


def token_matches(headers: Mapping[str, str], token: str) -> bool:
    """Compare the bearer token of a request with ours, in a time that tells nothing of it."""
    given = headers.get("authorization", "")
    if not given.startswith(BEARER):
        return False
    return hmac.compare_digest(given.removeprefix(BEARER).encode(), token.encode())


def wants_text(accept: str) -> bool:
    """Return True if plain text is wanted and HTML is not, as a terminal asks."""
    types = [part.partition(";")[0].strip() for part in accept.split(",")]
    return "text/plain" in types and "text/html" not in types

"""Meaning of a request to the token service: pure functions of the request.

POST   /v1/tokens/NAME?timeout=SECS             hold until the connection ends
POST   /v1/tokens/NAME?timeout=SECS&ttl=SECS    hold until so many seconds have passed
POST   /v1/tokens/NAME?lease=ID&ttl=SECS        so many seconds from now on, for a held one
GET    /v1/tokens/NAME                          is it held here, and for how long
DELETE /v1/tokens/NAME?lease=ID                 give it back
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from coordinator.app.config.model.values import LOOPBACK, TASK_NAME, TASK_NAME_RULE, duration_s
from coordinator.web.http1 import Refusal, Request

PREFIX = "/v1/tokens/"
METHODS = ("POST", "GET", "DELETE")
#: A lease that nobody renews must end; who needs longer renews it, or keeps a connection.
TTL_MAX_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Hold a token; ttl_s None: as long as the connection lives. timeout_s None: wait for ever."""

    name: str
    timeout_s: float | None = None
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Let a lease end so many seconds from now."""

    name: str
    lease: str
    ttl_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Tell whether a token is held here."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Give a token back."""

    name: str
    lease: str


Asked = Hold | Renew | Look | Return


def understand(request: Request, *, by_tcp: bool) -> Asked | Refusal:
    """Return what a request asks for, or why it is refused."""
    refused = _refusal(request, by_tcp=by_tcp)
    if refused is not None:
        return refused
    name = unquote(request.path.removeprefix(PREFIX))
    if not TASK_NAME.fullmatch(name):
        return Refusal(400, f"the token's name: {TASK_NAME_RULE}")
    given = dict(parse_qsl(request.query, keep_blank_values=True))
    try:
        match request.method:
            case "GET":
                _only(given)
                return Look(name=name)
            case "DELETE":
                _only(given, "lease")
                return Return(name=name, lease=given["lease"])
            case _ if "lease" in given:
                _only(given, "lease", "ttl")
                return Renew(name=name, lease=given["lease"], ttl_s=_ttl_s(given["ttl"]))
            case _:
                _only(given, "timeout", "ttl")
                timeout_s = _seconds("timeout", given["timeout"]) if "timeout" in given else None
                ttl_s = _ttl_s(given["ttl"]) if "ttl" in given else None
                return Hold(name=name, timeout_s=timeout_s, ttl_s=ttl_s)
    except KeyError as error:
        return Refusal(400, f"{error.args[0]} is missing in the query")
    except ValueError as error:
        return Refusal(400, str(error))


def _refusal(request: Request, *, by_tcp: bool) -> Refusal | None:
    """Return why a request is refused whatever it asks for.

    A page in a browser may send requests to the loopback interface, under any name that its server
    chose. It cannot leave out its origin, nor choose the host.
    """
    headers = request.headers
    if "origin" in headers:
        return Refusal(403, "requests of web pages are refused")
    if by_tcp and _host(headers.get("host", "")) not in LOOPBACK:
        return Refusal(403, "the Host header must name the loopback interface")
    if not request.path.startswith(PREFIX) or request.path == PREFIX:
        return Refusal(404, f"no such endpoint; there is {PREFIX}NAME")
    if request.method not in METHODS:
        return Refusal(405, f"{request.method} is not allowed; there are {', '.join(METHODS)}")
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return Refusal(413, "a request has no body: put its parameters into the query")
    return None


def _host(header: str) -> str:
    """Return the host of a Host header, without its port."""
    try:
        host = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return "?"
    return f"[{host}]" if ":" in host else host


def _only(given: dict[str, str], *known: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{key}: unknown here; there are {', '.join(known) or 'none'}")


def _seconds(key: str, text: str) -> float:
    try:
        found = duration_s(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error} (got {text!r})") from None
    if not 0 <= found < float("inf"):
        raise ValueError(f"{key}: must be a number of seconds, 0 or more (got {text!r})")
    return found


def _ttl_s(text: str) -> float:
    found = _seconds("ttl", text)
    if not 0 < found <= TTL_MAX_S:
        raise ValueError(f"ttl: must be more than 0 and at most {TTL_MAX_S:g} s (got {text!r})")
    return found

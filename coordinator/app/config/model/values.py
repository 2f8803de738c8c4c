"""Readers of single values of a configuration: durations, moments, names, commands.

Every function refuses with a ValueError whose text is the rule alone; the loader adds the place
and, when it is no secret, the value.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import socket
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlsplit

NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,128}")
SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,30}")
NAME_RULE = "must be 1 to 128 of ASCII letters, digits and _ . : @ - ('/' is reserved)"
#: With its group and a '/' it is the name of a token, which may have 256 letters.
TASK_NAME = re.compile(r"[A-Za-z0-9.:@-][A-Za-z0-9_.:@-]{0,126}")
TASK_NAME_RULE = (
    "must be 1 to 127 of ASCII letters, digits and _ . : @ -,"
    " no _ first (it is reserved, as '/' is)"
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Bounds for values that every node of the group reads again after each change.
OPTIONS_LETTERS_MAX = 16_384
DURATION = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d|)\s*", re.ASCII)
NEGATIVE = re.compile(r"\s*-\s*[\d.]+\s*[a-z]*\s*", re.ASCII)
DURATION_RULE = 'must be seconds as a number, or text such as "500ms", "6s", "2m", "1h"'
UNIT_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
CALLABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0")
#: A password: the text between "//user:" and the last "@", or after "password=".
SECRETS = re.compile(r"(://[^:/@\s]*:).*@|(\b\w*pass\w*\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", re.I)


def duration_s(raw: object) -> float:
    """Return the seconds that a number or a text such as "500ms" means."""
    if isinstance(raw, str) and (match := DURATION.fullmatch(raw)):
        # Whole milliseconds must not become 0.30000000000000004 s in what people read.
        return round(float(match[1]) * UNIT_S[match[2]], 6)
    if isinstance(raw, str) and NEGATIVE.fullmatch(raw):
        raise ValueError("must not be negative")
    if isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw):
        return float(raw)
    raise ValueError(DURATION_RULE)


def moment(raw: object) -> datetime:
    """Return the moment that an ISO-8601 text or a TOML date-time means; UTC without offset."""
    if isinstance(raw, str):
        try:
            raw = datetime.fromisoformat(raw.strip())
        except ValueError:
            raw = None
    elif isinstance(raw, date) and not isinstance(raw, datetime):
        raw = datetime(raw.year, raw.month, raw.day, tzinfo=UTC)
    if not isinstance(raw, datetime):
        raise ValueError('must be a moment such as "2026-12-31T23:00:00Z" or "…+01:00"')
    return raw if raw.tzinfo is not None else raw.replace(tzinfo=UTC)


def name(raw: str) -> str:
    """Return a group's name unchanged."""
    if not NAME.fullmatch(raw):
        raise ValueError(NAME_RULE)
    return raw


def node_name(raw: str) -> str:
    """Return a node's name with {hostname} and {pid} filled in."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:100]
    return name(raw.replace("{hostname}", host).replace("{pid}", str(os.getpid())))


def task_name(raw: str) -> str:
    """Return a task's name unchanged."""
    if not TASK_NAME.fullmatch(raw):
        raise ValueError(TASK_NAME_RULE)
    return raw


def schema_name(raw: str) -> str:
    """Return the name of a database schema, one that SQL needs no quotes for."""
    if not SCHEMA.fullmatch(raw):
        raise ValueError("must be 1 to 31 of a-z, 0-9 and _, no digit first")
    return raw


def whole(raw: object) -> object:
    """Refuse true and false where a count is meant; Python would call them 1 and 0."""
    if isinstance(raw, bool):
        raise ValueError("must be a whole number")
    return raw


def lower(raw: object) -> object:
    """Make a word lower-case, so that LOG levels may be written as most people do."""
    return raw.lower() if isinstance(raw, str) else raw


def upper(raw: object) -> object:
    """Make a policy's word upper-case."""
    return raw.upper() if isinstance(raw, str) else raw


def names(raw: object) -> tuple[str, ...]:
    """Return the parts of a comma list, or of a list; hosts and ports are written so."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | list | tuple):
        raise ValueError("must be a text, or a list of texts")
    parts = raw if isinstance(raw, list | tuple) else str(raw).split(",")
    return tuple(str(part).strip() for part in parts)


def distinct_names(raw: object) -> tuple[str, ...]:
    """Return the names of a list, or of a comma list, in order and each once."""
    return tuple(dict.fromkeys(names(raw)))


def variables(raw: object) -> dict[str, str]:
    """Return variables for a program's environment; whole numbers may stand for their digits."""
    if not isinstance(raw, dict):
        raise ValueError('must be a table such as { LEVEL = "high" }')
    found = {}
    for key, value in raw.items():
        if not isinstance(key, str) or not VARIABLE.fullmatch(key):
            raise ValueError("must have names of ASCII letters, digits and _, no digit first")
        if key.startswith("COORD_"):
            raise ValueError("must have no name that begins with COORD_: those are the node's")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"must have texts or whole numbers as values ({key} has another)")
        found[key] = str(value)
    return found


def options(raw: object) -> dict[str, Any]:
    """Return what a program is to get as JSON; moments become ISO texts."""
    if not isinstance(raw, dict):
        raise ValueError("must be a table")
    try:
        text = json.dumps(raw, default=_iso, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must hold what JSON can say: no infinity, nothing endless") from None
    if len(text) > OPTIONS_LETTERS_MAX:
        raise ValueError(f"must not be longer than {OPTIONS_LETTERS_MAX} letters of JSON")
    found: dict[str, Any] = json.loads(text)
    return found


def _iso(raw: object) -> str:
    if isinstance(raw, date | time):
        return raw.isoformat()
    raise TypeError(type(raw))


def hosts(raw: object) -> tuple[str, ...]:
    """Return the hosts of a comma list: names, addresses or socket directories."""
    parts = names(raw)
    for part in parts:
        if "://" in part or "@" in part[1:]:
            raise ValueError("must be a host, not a URL; a URL belongs in databaseConfig.url")
        if not part or any(letter.isspace() for letter in part):
            raise ValueError("must be a host, or several with commas between them")
    return parts


def ports(raw: object) -> tuple[str, ...]:
    """Return the ports of a comma list."""
    parts = names(raw)
    for part in parts:
        if not part.isascii() or not part.isdecimal() or not 0 < int(part) < 65536:
            raise ValueError("must be a port from 1 to 65535, or one for each host")
    return parts


def embedded(raw: object) -> bool | str:
    """Return yes, no, or the directory of the embedded server."""
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("must be true, false, or the path of a directory")
    if raw.lower() in TRUE_WORDS:
        return True
    return False if raw.lower() in FALSE_WORDS else raw


def command(raw: object) -> tuple[str, ...] | str:
    """Return a command as it was meant: a list of arguments, or one line that has some."""
    if isinstance(raw, str) and raw.strip():
        return raw
    if isinstance(raw, list | tuple) and raw and all(isinstance(part, str) for part in raw):
        if not raw[0]:
            raise ValueError("must name a file to run first")
        return tuple(raw)
    raise ValueError('must be a list of texts such as ["backup", "--all"], or one text')


def arguments(line: str) -> tuple[str, ...]:
    """Split a command line as a shell would, quotes included."""
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise ValueError(f"cannot be split into arguments: {error}") from None


def callable_path(raw: str) -> str:
    """Return "module:function" unchanged."""
    if not CALLABLE.fullmatch(raw):
        raise ValueError('must be "module:function"')
    return raw


def timezone(raw: str) -> str:
    """Return the name of a time zone that this machine knows."""
    from zoneinfo import ZoneInfo

    if raw == "UTC":
        return raw
    try:
        ZoneInfo(raw)
    except (KeyError, ValueError, OSError):
        try:
            ZoneInfo("Europe/Berlin")
        except KeyError:
            raise ValueError("no time zones are installed: install the package tzdata") from None
        raise ValueError('must be a time zone such as "Europe/Berlin"') from None
    return raw


def address(raw: str) -> str:
    """Return "host:port" unchanged; ":8008" means the loopback interface."""
    host, colon, port = raw.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or "/" in host:
        raise ValueError('must be "host:port", as in "127.0.0.1:8008"')
    return raw


#: No name of a machine is longer (RFC 1035), and a port fits as well.
NODE_ADDRESS_MAX = 255


def node_address(raw: str) -> str:
    """Return the address of a node unchanged: one word, so that it is one word in scripts, too."""
    if len(raw) > NODE_ADDRESS_MAX or not raw or not all("!" <= char <= "~" for char in raw):
        rule = f"one word of at most {NODE_ADDRESS_MAX} printable ASCII characters"
        raise ValueError(f'must be {rule}, as "10.0.0.7" or "web-1.example:8080"')
    return raw


#: sun_path is 108 bytes with its closing NUL (unix(7)).
SOCKET_PATH_MAX = 107
LOOPBACK = ("127.0.0.1", "[::1]", "localhost", "")


def local_address(raw: str) -> str:
    """Return "unix:/path", or "host:port" of the loopback interface, unchanged."""
    scheme, _, path = raw.partition(":")
    if scheme == "unix":
        if not path.startswith("/") or len(path.encode()) > SOCKET_PATH_MAX or "\0" in path:
            rule = f"an absolute path of at most {SOCKET_PATH_MAX} bytes"
            raise ValueError(f'must name {rule}, as in "unix:/run/coord.sock"')
        return raw
    if address(raw).rpartition(":")[0] not in LOOPBACK:
        raise ValueError("must be a unix socket or a loopback address: it asks for no password")
    return raw


def http_url(raw: str) -> str:
    """Return a URL that a health check can ask for, unchanged."""
    try:
        parts = urlsplit(raw)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not raw.isprintable() or " " in raw:
        raise ValueError('must be a URL, as in "http://127.0.0.1:8080/health"')
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password: every user can read a command line")
    return raw


def webhook_url(raw: str) -> str:
    """Return a URL to which events are sent, unchanged; it may be a secret, so it is not quoted."""
    try:
        parts = urlsplit(raw)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not raw.isascii() or not raw.isprintable() or " " in raw or len(raw) > 2000:
        raise ValueError('must be a URL, as in "https://hooks.example.org/coord"')
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password: put a token into webhookTokenFile")
    if parts.fragment:
        raise ValueError("must not have a fragment (#): no server would ever see it")
    return raw


def cron(raw: str) -> str:
    """Return five cron fields unchanged, once they are understood, and due some day."""
    from coordinator.runtime.schedule.calendar import cron as lines

    try:
        lines.parse(raw)
    except lines.NeverDueError as error:
        raise ValueError(f"is never due: {error}") from None
    except ValueError as error:
        raise ValueError(f"must be five cron fields: {error}") from None
    return raw


def redacted(text: str) -> str:
    """Return text with every password replaced that a URL or a key=value list would hold."""
    return SECRETS.sub(lambda match: f"{match[1]}***@" if match[1] else f"{match[2]}***", text)

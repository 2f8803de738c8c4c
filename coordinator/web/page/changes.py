"""Changes that the page can ask for: the verbs of the commands, read from a JSON body."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coordinator.errors import (
    ConditionFalseError,
    CoordError,
    DatabaseRefusedError,
    DatabaseUnreachableError,
    NotFoundError,
    UsageError,
)

#: Verbs, and True where one needs a node.
VERBS: dict[str, bool] = {
    "switchover": False,
    "pause-work": False,
    "pause-takeovers": False,
    "resume": False,
    "drain": True,
    "undrain": True,
}
FIELDS = ("node", "reason")
TEXT_MAX = 500
#: A body with two such texts, each letter written as an escape of 12 bytes, is smaller.
BODY_BYTES_MAX = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One change of a group."""

    group: str
    verb: str
    node: str | None = None
    reason: str | None = None


#: Carries out a change and returns its document; may wait for the database.
Carry = Callable[[Wanted], dict[str, Any]]


def read_wanted(group: str, verb: str, body: bytes) -> Wanted:
    """Return the change that a request asks for.

    Errors: UsageError.
    """
    if verb not in VERBS:
        raise UsageError(f"there is no verb {verb!r}; there are {', '.join(VERBS)}")
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON") from None
    if not isinstance(given, dict) or set(given) - set(FIELDS):
        raise UsageError(f"the body is not an object of {' and '.join(FIELDS)}")
    node, reason = (_text(given, key) for key in FIELDS)
    if node is None and VERBS[verb]:
        raise UsageError(f"{verb} needs a node")
    if node is not None and not VERBS[verb] and verb != "switchover":
        raise UsageError(f"{verb} takes no node")
    return Wanted(group=group, verb=verb, node=node, reason=reason)


def _text(given: dict[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > TEXT_MAX or not value.isprintable():
        raise UsageError(f"{key} is not a text of at most {TEXT_MAX} letters")
    return value


def status_of(error: CoordError) -> int:
    """Return the status of HTTP for an error."""
    match error:
        case UsageError():
            return 400
        case DatabaseRefusedError():
            return 403
        case NotFoundError():
            return 404
        case ConditionFalseError():
            return 409
        case DatabaseUnreachableError():
            return 503
        case _:
            return 500

"""Paths of a node's HTTP endpoints."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import unquote

from coordinator.web.http1 import Reply
from coordinator.web.node.checks import CHECKS, Check

NOT_FOUND = 404
GROUPS = "/api/v1/groups"


class Read(StrEnum):
    """Answer for which the database is read."""

    METRICS = "metrics"
    STATUS = "status"
    HISTORY = "history"
    NODES = "nodes"
    EVENTS = "events"


#: The description of all of them, in OpenAPI.
OPENAPI = "/openapi.json"
READ = {
    "/metrics": Read.METRICS,
    "/status": Read.STATUS,
    GROUPS: Read.STATUS,
    f"{GROUPS}/{{groupId}}": Read.STATUS,
    f"{GROUPS}/{{groupId}}/history": Read.HISTORY,
    "/api/v1/nodes": Read.NODES,
    "/api/v1/events": Read.EVENTS,
}


def route(path: str, group: str) -> Check | Read | str | Reply:
    """Return the check, or what is to be read; a node knows its own group alone."""
    path = path.rstrip("/") or "/"
    if path == OPENAPI:
        return OPENAPI
    if path in CHECKS:
        return CHECKS[path]
    named, read = _of_group(path)
    if named is not None and named != group:
        error = f"this node is of the group {group}, and tells of no other one"
        return Reply(NOT_FOUND, {"error": error}, None)
    found = READ.get(read)
    if found is not None:
        return found
    known = ", ".join([*sorted(CHECKS), *READ, OPENAPI])
    return Reply(NOT_FOUND, {"error": f"no such endpoint; there are {known}"}, None)


def _of_group(path: str) -> tuple[str | None, str]:
    """Return the group that a path names, and the path as READ has it."""
    if not path.startswith(f"{GROUPS}/"):
        return None, path
    named, slash, rest = path.removeprefix(f"{GROUPS}/").partition("/")
    return unquote(named), f"{GROUPS}/{{groupId}}{slash}{rest}"

"""OpenAPI description of a node's endpoints, derived from the shapes of their answers.

`make config` writes it to coordinator/web/node/openapi.json, which is all that a node reads of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from coordinator import __version__
from coordinator.app.admin.documents import shapes
from coordinator.web.node.checks import State
from coordinator.web.node.routes import GROUPS, OPENAPI, READ, Read

#: Sentences about the checks; 503 is the answer when the sentence is not true.
CHECK_TEXTS = {
    "/": "Always 200: the state of the node.",
    "/active": "200 while this node may act as the holder, by its own clock; no SQL.",
    "/leader": "As /active.",
    "/primary": "As /active.",
    "/standby": "200 while this node lives, is not active and may take the token; no SQL.",
    "/livez": "200 while the loop of the node turns; no SQL.",
    "/readyz": "200 while the node is registered, and the database answered it lately; no SQL.",
    "/healthz": "Always 200: the state of the node.",
}
READ_TEXTS = {
    Read.METRICS: "Metrics for Prometheus; 501 without the extra [metrics].",
    Read.STATUS: "The group of this node, as `coord status GROUP -o json` has it.",
    Read.HISTORY: "Its newest 100 terms, as `coord history GROUP -o json` has them.",
    Read.NODES: "Its nodes.",
    Read.EVENTS: "Its newest 1,000 events of the last day, as `coord events GROUP -o json` has"
    " them.",
}
SHAPES: dict[Read, type[Any]] = {
    Read.STATUS: shapes.Status,
    Read.HISTORY: shapes.History,
    Read.NODES: shapes.GroupNodes,
    Read.EVENTS: shapes.Events,
}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
HEADERS = {
    "X-Coord-Term": {
        "description": "The term that this node knows; 0: none.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Cache-Control": {"required": True, "schema": {"const": "no-store"}},
}
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
    "additionalProperties": False,
}
#: Text of the refusal of everything for which the database is read.
UNREADABLE = "The database does not answer, or too many ask at the same time."


def description_text() -> str:
    """Return the description as the file has it."""
    return json.dumps(description(), indent=2) + "\n"


def description() -> dict[str, Any]:
    """Return the description of all endpoints."""
    paths: dict[str, Any] = {}
    for path, text in CHECK_TEXTS.items():
        good, bad = _answer(text, State, closed=False), _answer("Else.", State, closed=False)
        always = text.startswith("Always")
        paths[path] = _operations(
            path, text, {"200": good} if always else {"200": good, "503": bad}
        )
    for path, read in READ.items():
        paths[path] = _operations(path, READ_TEXTS[read], dict(_read(path, read)))
    whole = {"description": "This description.", "headers": HEADERS}
    whole["content"] = {"application/json": {"schema": {"type": "object"}}}
    paths[OPENAPI] = _operations(OPENAPI, "This description.", {"200": whole})
    return {
        "openapi": "3.1.0",
        "info": {"title": "A node of coord", "version": __version__},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR, **_schemas(State, *SHAPES.values())}},
    }


def _operations(path: str, text: str, responses: dict[str, Any]) -> dict[str, Any]:
    """Describe GET and HEAD of a path."""
    without = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in responses.items()
    }
    name = path.strip("/").replace("/", "-").replace("{", "").replace("}", "") or "root"
    operations: dict[str, Any] = {
        "get": {"operationId": name, "summary": text, "responses": responses},
        "head": {"operationId": f"{name}-head", "summary": text, "responses": without},
    }
    if "{groupId}" in path:
        schema = {"type": "string", "minLength": 1, "maxLength": 128}
        group = {"name": "groupId", "in": "path", "required": True, "schema": schema}
        operations["parameters"] = [group]
    return operations


def _read(path: str, read: Read) -> Iterator[tuple[str, Any]]:
    """Yield the answers of a path for which the database is read."""
    if read is Read.METRICS:
        text = {"schema": {"type": "string"}}
        kinds = {"text/plain": text, "application/openmetrics-text": text}
        yield "200", {"description": READ_TEXTS[read], "headers": HEADERS, "content": kinds}
        yield "501", _error("prometheus-client is not installed.")
    else:
        yield "200", _answer(READ_TEXTS[read], SHAPES[read])
    if path.startswith(f"{GROUPS}/"):
        yield "404", _error("This node is of another group.")
    yield "503", _error(UNREADABLE)


def _answer(text: str, kind: type[Any], *, closed: bool = True) -> dict[str, Any]:
    """Describe an answer; one of a check has its parts beside the state of the node."""
    schema: dict[str, Any] = {"$ref": f"#/components/schemas/{kind.__name__}"}
    if not closed:
        schema = {"allOf": [schema], "type": "object"}
    content = {"application/json": {"schema": schema}}
    return {"description": text, "headers": HEADERS, "content": content}


def _error(text: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": text, "headers": HEADERS, "content": content}


def _schemas(*kinds: type[Any]) -> dict[str, Any]:
    """Return the schemas of TypedDicts, and of those that are in them, by their names."""
    found: dict[str, Any] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop(0)
        if kind.__name__ in found:
            continue
        fields = get_type_hints(kind)
        found[kind.__name__] = {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").split()),
            "properties": {name: _schema(type_, waiting) for name, type_ in fields.items()},
            "required": list(fields),
        }
    return found


def _schema(kind: Any, met: list[type[Any]]) -> dict[str, Any]:
    """Return the schema of one field; `met` takes the TypedDicts in it."""
    if get_origin(kind) in (Union, UnionType):
        return {"anyOf": [_schema(each, met) for each in get_args(kind)]}
    if get_origin(kind) is list:
        return {"type": "array", "items": _schema(get_args(kind)[0], met)}
    if is_typeddict(kind):
        met.append(kind)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"type": PLAIN[kind]}

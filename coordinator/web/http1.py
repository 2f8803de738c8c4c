"""HTTP/1.1 as far as health checks need it: bytes to a request, a reply to bytes. Pure functions.

Every part has a bound. A request that breaks a rule gets a refusal, after which the connection is
closed, because where its next request would begin is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

#: A health check's request line has some 20 bytes, and its headers some 200.
LINE_BYTES_MAX = 2048
HEAD_BYTES_MAX = 8192
METHODS = ("GET", "HEAD", "OPTIONS")
ALLOW = ", ".join(METHODS)

REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
#: The path of "http://host/path", as a proxy asks.
ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; a method that is not one of METHODS is answered with 405."""

    method: str
    path: str
    keeps_open: bool  #: another request may follow on this connection
    query: str = ""  #: the part behind the question mark
    headers: Mapping[str, str] = field(default_factory=dict)  #: names and values in lower case


JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body; the term is sent in a header, too.

    term: None: the term that the server's owner knows when the answer is sent.
    body: a document that is written as JSON, or bytes of content_type.
    """

    status: int
    body: Mapping[str, Any] | bytes
    term: int | None
    content_type: str = JSON


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that cannot be answered; the connection ends with it."""

    status: int
    error: str


def parse(received: bytes) -> tuple[Request | Refusal, int] | None:
    """Return the first request in the received bytes, and its length in bytes.

    Returns None while the request is incomplete.
    """
    # RFC 9112, 2.2: empty lines before a request are skipped.
    skipped = len(received) - len(received.lstrip(b"\r\n"))
    text = received[skipped:]
    if len(text.partition(b"\n")[0]) > LINE_BYTES_MAX:
        return Refusal(414, f"the request line is longer than {LINE_BYTES_MAX} bytes"), len(
            received
        )
    end = re.search(rb"\r?\n\r?\n", text)
    if (end.start() if end else len(received)) > HEAD_BYTES_MAX:
        return Refusal(431, f"the headers are longer than {HEAD_BYTES_MAX} bytes"), len(received)
    if end is None:
        return None
    lines = [line.removesuffix(b"\r") for line in text[: end.start()].split(b"\n")]
    return _request(lines), skipped + end.end()


def _request(lines: list[bytes]) -> Request | Refusal:
    first = REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        return Refusal(400, "the request line is not METHOD PATH HTTP/1.1")
    if first[3] != b"1":
        return Refusal(505, "only HTTP/1.0 and HTTP/1.1 are supported")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        found = HEADER.fullmatch(line)
        if found is None:
            return Refusal(400, "a header is not NAME: VALUE")
        headers[found[1].decode().lower()] = found[2].decode("latin-1").strip().lower()
    path, _, query = ABSOLUTE.sub("", first[2].decode(), count=1).partition("?")
    keeps_open = _keeps_open(first[4] != b"0", headers)
    return Request(first[1].decode(), path or "/", keeps_open, query, headers)


def _keeps_open(is_1_1: bool, headers: Mapping[str, str]) -> bool:
    """Return True if another request may follow; a body is never read and ends the connection."""
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    words = {word.strip() for word in headers.get("connection", "").split(",")}
    wanted = "close" not in words if is_1_1 else "keep-alive" in words
    return wanted and not has_body


def render(reply: Reply, term: int, *, with_body: bool, keeps_open: bool) -> bytes:
    """Write a reply; without its body it still states the body's length, as HEAD must."""
    body = reply.body
    if not isinstance(body, bytes):
        body = json.dumps(body).encode() + b"\n"
    status = HTTPStatus(reply.status)
    headers = {
        "Content-Type": reply.content_type,
        "Cache-Control": "no-store",
        "X-Coord-Term": str(term if reply.term is None else reply.term),
        "Allow": ALLOW,
        "Content-Length": str(len(body)),
        "Connection": "keep-alive" if keeps_open else "close",
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + body if with_body else head

"""Routes of the page: the files, the readings, the stream, and changes where there is a token."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.errors import CoordError
from coordinator.web.page import guard
from coordinator.web.page.changes import BODY_BYTES_MAX, VERBS, Carry, read_wanted, status_of
from coordinator.web.page.feed import Feed, Frame
from coordinator.web.page.files import File, page_files
from coordinator.web.page.streams import events

#: Open streams, each of one tab of a browser.
STREAMS_MAX = 64
#: A reading for one request may take so long; the database's own time-out is shorter.
READING_S = 10.0
#: A reading that is younger is fresh enough for a request.
FRESH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """Facts about this server; token: of the administrator, or None where it is read-only."""

    names: Collection[str]
    token: str | None
    version: str


class Page:
    """Handlers of one server."""

    def __init__(self, feed: Feed, settings: PageSettings, carry: Carry) -> None:
        self._feed, self._settings, self._carry = feed, settings, carry
        self._files = page_files()
        self._streams = 0

    def application(self) -> ASGIApp:
        """Return the application for a server."""
        routes = [
            Route("/", self.front),
            Route("/livez", self.alive),
            Route("/static/{name}", self.file),
            Route("/api/v1/session", self.session),
            Route("/api/v1/status", self.status),
            Route("/api/v1/groups/{group}", self.group),
            Route("/api/v1/events", self.stream),
            Route("/api/v1/groups/{group}/{verb}", self.change, methods=["POST"]),
        ]
        handlers: Any = {HTTPException: _refused, CoordError: _failed}
        return Guarded(Starlette(routes=routes, exception_handlers=handlers), self._settings.names)

    async def front(self, request: Request) -> Response:
        """Answer with the page, or with the table of `coord status` where text is wanted."""
        if guard.wants_text(request.headers.get("accept", "")):
            frame = await self._fresh(None)
            note = f"{frame.trouble}\n" if frame.trouble else ""
            return Response(frame.table() + note, media_type="text/plain")
        return _sent(self._files["index.html"], request)

    async def alive(self, _: Request) -> Response:
        """Answer that this server works; it says nothing of the database."""
        return Response("ok\n", media_type="text/plain")

    async def file(self, request: Request) -> Response:
        """Answer with one file of the page."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "there is no such file")
        return _sent(found, request)

    async def session(self, _: Request) -> Response:
        """Answer with what this server allows."""
        verbs = [] if self._settings.token is None else list(VERBS)
        return JSONResponse({"version": self._settings.version, "verbs": verbs})

    async def status(self, _: Request) -> Response:
        """Answer with the document of `coord status -o json`."""
        frame = await self._fresh(None)
        if frame.trouble:
            raise HTTPException(503, frame.trouble)
        return Response(frame.status(), media_type="application/json")

    async def group(self, request: Request) -> Response:
        """Answer with one group in full."""
        name = request.path_params["group"]
        frame = await self._fresh(name)
        if frame.trouble:
            raise HTTPException(503, frame.trouble)
        if name not in frame.groups:
            raise HTTPException(404, f"there is no group {name!r}")
        return Response(frame.groups[name], media_type="application/json")

    async def stream(self, request: Request) -> Response:
        """Answer with a stream that ends when the browser or the server does."""
        if request.method == "HEAD":  # its answer has an end
            return Response(media_type="text/event-stream")
        if self._streams >= STREAMS_MAX:
            raise HTTPException(503, f"{STREAMS_MAX} tabs are open already", {"retry-after": "10"})
        group = request.query_params.get("group") or None

        async def counted() -> Any:
            self._streams += 1
            try:
                async for each in events(self._feed, group):
                    yield each
            finally:
                self._streams -= 1

        return StreamingResponse(counted(), media_type="text/event-stream")

    async def change(self, request: Request) -> Response:
        """Carry out a change, as the command of the same name does."""
        token = self._settings.token
        if token is None:
            raise HTTPException(403, "this page is read-only: see coord ui --admin-token-file")
        if why := guard.why_not_ours(request.headers):
            raise HTTPException(403, why)
        if not guard.token_matches(request.headers, token):
            raise HTTPException(401, "the secret is wrong", {"www-authenticate": "Bearer"})
        body = await _body(request)
        wanted = read_wanted(request.path_params["group"], request.path_params["verb"], body)
        document = await run_in_threadpool(self._carry, wanted)
        return JSONResponse(document)

    async def _fresh(self, group: str | None) -> Frame:
        """Return a frame that is fresh enough, by a reading of its own if need be."""
        asked_at = time.monotonic() - FRESH_S
        with self._feed.looking(group) as follower:
            frame = await follower.after(asked_at, READING_S, group)
        if frame is None:
            raise HTTPException(503, "the database has not answered in time")
        return frame


class Guarded:
    """Application around another: refuses foreign names, and adds our headers to all answers."""

    def __init__(self, inner: ASGIApp, names: Collection[str]) -> None:
        self._inner, self._names = inner, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        added = [(key.encode(), value.encode()) for key, value in guard.HEADERS.items()]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                set_by = {key for key, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(each for each in added if each[0] not in set_by),
                ]
            await send(message)

        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if not guard.host_allowed(host, self._names):
            text = f"{host!r} is no name of this server: coord ui --name adds one"
            await _problem(421, text)(scope, receive, sending)
            return
        try:
            await self._inner(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the client has its 500, and others go on
            logging.getLogger("coord").error(
                "the page: %s: unexpected error: %s: %s", scope["path"], type(error).__name__, error
            )


def _sent(found: File, request: Request) -> Response:
    headers = {"etag": found.tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.kind, headers=headers)


async def _body(request: Request) -> bytes:
    """Return the body of a request, which is bounded."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise HTTPException(413, f"the body has more than {BODY_BYTES_MAX} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the body is not complete") from None
    return body


def _problem(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status_code=status, headers=headers)


async def _refused(_: Request, error: HTTPException) -> Response:
    return _problem(error.status_code, error.detail, dict(error.headers or {}))


async def _failed(_: Request, error: CoordError) -> Response:
    return _problem(status_of(error), str(error))

"""The server of the page: bounds on what clients can do, and its end."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from coordinator.web.page import routes, serve
from coordinator.web.page.changes import Wanted
from coordinator.web.page.feed import Feed, Frame
from coordinator.web.page.routes import Page, PageSettings
from coordinator.web.page.serve import HEADERS_BYTES_MAX, Server

TIMEOUT_S = 30
LIMIT = 8


@dataclass
class Served:
    server: Server
    feed: Feed
    address: tuple[str, int]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=TIMEOUT_S)

    def asked(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=TIMEOUT_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        told = (answer.status, answer.read())
        connection.close()
        return told


def refuse(_: Wanted) -> dict[str, Any]:
    raise AssertionError("this server changes nothing")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(serve, "REQUEST_S", 1)
    monkeypatch.setattr(serve, "CONNECTIONS_MAX", LIMIT)
    monkeypatch.setattr(routes, "STREAMS_MAX", 2)
    listener = socket.create_server(("127.0.0.1", 0))
    feed = Feed()
    page = Page(feed, PageSettings(names=(), token=None, version="0"), refuse)
    server = Server(page.application(), feed, [listener])
    try:
        yield Served(server, feed, listener.getsockname())
    finally:
        server.close()


def streaming(served: Served) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(*served.address, timeout=TIMEOUT_S)
    connection.request("GET", "/api/v1/events")
    answer = connection.getresponse()
    assert answer.readline().startswith(b"retry")
    return connection, answer


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
def test_a_request_that_does_not_come_is_not_waited_for(served: Served, begun: bytes) -> None:
    with served.connect() as client:
        client.sendall(begun)

        assert client.recv(1024) == b""


@pytest.mark.parametrize(
    ("asked", "begun"),
    [
        (b"", b"GET /livez HTTP/1.1\r\nHost: "),
        (b"Content-Length: 9\r\n", b"1"),
    ],
)
def test_nor_is_a_second_one_or_the_rest_of_a_body(
    served: Served, asked: bytes, begun: bytes
) -> None:
    with served.connect() as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + asked + b"\r\n")
        told = b""
        while not told.endswith(b"ok\n"):
            told += client.recv(1024)
        client.sendall(begun)

        assert client.recv(1024) == b""


def test_at_the_limit_the_one_that_waits_longest_makes_room(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "REQUEST_S", 10 * TIMEOUT_S)
    clients = [served.connect() for _ in range(LIMIT)]
    try:
        assert served.asked("/livez")[0] == 200
        assert clients[0].recv(1) == b""
    finally:
        for client in clients:
            client.close()


def test_the_head_of_a_stream_has_an_end(served: Served) -> None:
    with served.connect() as client:
        for path in (b"HEAD /api/v1/events", b"GET /livez"):
            client.sendall(path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        told = b""
        while not told.endswith(b"ok\n"):
            told += client.recv(4096)


def test_without_descriptors_nothing_is_said_and_a_bug_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.new_event_loop()
    logger = logging.getLogger("coord")
    logger.addHandler(caplog.handler)
    try:
        for error in (OSError(24, "Too many open files"), RuntimeError("a bug")):
            serve.troubled(loop, {"message": "trouble", "exception": error})
    finally:
        logger.removeHandler(caplog.handler)
        loop.close()

    assert set(caplog.messages) == {"the page: unexpected error: RuntimeError: a bug"}


def test_a_head_without_end_is_refused(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * (HEADERS_BYTES_MAX + 4096))

        assert client.recv(1024).startswith(b"HTTP/1.1 4")


def test_more_streams_than_there_may_be_are_told_to_come_later(served: Served) -> None:
    served.feed.publish(Frame(overview=b"{}"))
    open_ones = [streaming(served) for _ in range(2)]

    status, body = served.asked("/api/v1/events")

    assert status == 503
    assert "2 tabs" in json.loads(body)["error"]
    for connection, answer in open_ones:
        answer.close()
        connection.close()


def test_streams_end_with_the_server(served: Served) -> None:
    served.feed.publish(Frame(overview=b"{}"))
    connection, answer = streaming(served)
    while answer.readline() != b"event: overview\n":
        pass

    served.server.close()

    answer.read()  # to the end of the stream
    answer.close()
    connection.close()
    assert not served.server.alive


def test_a_bug_is_a_500_and_one_line(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise RuntimeError("a bug")

    served.feed.publish(Frame(overview=b"{}", status=broken))
    logger = logging.getLogger("coord")
    logger.addHandler(caplog.handler)  # it does not propagate where a node has set it up
    try:
        assert served.asked("/api/v1/status")[0] == 500
        served.server.close()  # the line comes after the answer
    finally:
        logger.removeHandler(caplog.handler)

    assert {record.exc_info for record in caplog.records} == {None}
    assert "/api/v1/status: unexpected error: RuntimeError: a bug" in caplog.text

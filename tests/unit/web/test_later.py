"""Answers that come later, from another thread, and never delay those that come at once."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator

import pytest

from coordinator.web import server as server_module
from coordinator.web.http1 import HEAD_BYTES_MAX, Reply, Request
from coordinator.web.server import Deliver, Server

TIMEOUT_S = 20


class Desk:
    """Answers /now at once, and everything else when the test says so."""

    def __init__(self) -> None:
        self.asked: queue.Queue[Deliver] = queue.Queue()

    def answer(self, request: Request, deliver: Deliver) -> Reply | None:
        if request.path == "/now":
            return Reply(200, {"path": request.path}, 7)
        self.asked.put(deliver)
        return None


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def server(desk) -> Iterator[Server]:
    made = Server("127.0.0.1", 0, desk.answer)
    yield made
    made.close()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(server.address, timeout=TIMEOUT_S)


def said(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def ask(client: socket.socket, path: str, *more: str) -> None:
    lines = [f"GET {path} HTTP/1.1", *more, "", ""]
    client.sendall("\r\n".join(lines).encode())


def test_a_check_is_answered_while_another_client_waits(server, desk):
    with connect(server) as waiting, connect(server) as other:
        ask(waiting, "/later", "Connection: close")
        deliver = desk.asked.get(timeout=TIMEOUT_S)
        ask(other, "/now", "Connection: close")

        assert said(other).startswith(b"HTTP/1.1 200 ")
        deliver(Reply(200, b"read", 7, "text/plain"))
        answer = said(waiting)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/plain\r\n" in answer
    assert answer.endswith(b"\r\n\r\nread")


def test_requests_behind_one_that_waits_are_answered_in_their_order(server, desk):
    with connect(server) as client:
        ask(client, "/later")
        ask(client, "/now", "Connection: close")
        deliver = desk.asked.get(timeout=TIMEOUT_S)
        deliver(Reply(200, {"path": "/later"}, 7))
        answers = said(client)

    assert answers.index(b'"/later"') < answers.index(b'"/now"')


def test_an_answer_that_does_not_come_is_said_to_be_late(monkeypatch, server, desk):
    monkeypatch.setattr(server_module, "LATER_MAX_S", 0.05)
    with connect(server) as client:
        ask(client, "/later", "Connection: close")
        deliver = desk.asked.get(timeout=TIMEOUT_S)
        answer = said(client)
        deliver(Reply(200, {}, 7))  # it comes too late, and goes nowhere

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"error"' in answer


def test_a_client_that_goes_away_before_its_answer_is_no_news(server, desk, caplog):
    with connect(server) as client:
        ask(client, "/later")
        deliver = desk.asked.get(timeout=TIMEOUT_S)
    deliver(Reply(200, {}, 7))
    with connect(server) as other:
        ask(other, "/now", "Connection: close")

        assert said(other).startswith(b"HTTP/1.1 200 ")
    assert caplog.records == []


def test_requests_that_pile_up_behind_one_that_waits_end_their_connection(server, desk):
    with connect(server) as client:
        ask(client, "/later")
        desk.asked.get(timeout=TIMEOUT_S)
        pile = b"GET /now HTTP/1.1\r\n\r\n" * HEAD_BYTES_MAX
        try:
            client.sendall(pile)
            answer = said(client)
        except OSError:
            answer = b""  # reset, because it had sent more than was read

    assert answer == b""


def test_an_answer_to_a_server_that_has_ended_goes_nowhere(desk):
    server = Server("127.0.0.1", 0, desk.answer)
    with connect(server) as client:
        ask(client, "/later")
        deliver = desk.asked.get(timeout=TIMEOUT_S)
        server.close()

    deliver(Reply(200, {}, 7))

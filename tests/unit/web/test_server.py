"""The HTTP server of a node: what it answers, and what no client can do to it."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from coordinator.errors import ConfigError
from coordinator.web import server as server_module
from coordinator.web.http1 import HEAD_BYTES_MAX, LINE_BYTES_MAX, Refusal, Reply, Request, parse
from coordinator.web.server import Deliver, Server
from tests.support.bounds import within

TIMEOUT_S = 20


def _answer(request: Request, deliver: Deliver) -> Reply:
    return Reply(200, {"path": request.path}, 7)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server("127.0.0.1", 0, _answer, lambda: 7)
    yield made
    made.close()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(server.address, timeout=TIMEOUT_S)


def said(client: socket.socket) -> bytes:
    """Return everything until the server closes."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def asked(server: Server, method: str, path: str = "/active", **more: object) -> tuple[int, dict]:
    connection = http.client.HTTPConnection(*server.address, timeout=TIMEOUT_S)
    connection.request(method, path, **more)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["X-Coord-Term"] == "7"
    return answer.status, json.loads(text)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FETCH"])
def test_other_methods_are_refused_in_json(server, method):
    status, body = asked(server, method, body="{}" if method == "POST" else None)

    assert status == 405
    assert body == {"error": f"{method} is not allowed; this node answers GET, HEAD, OPTIONS"}


def test_requests_that_come_together_are_answered_as_fast_as_they_are_read():
    answered = []

    def large(request: Request, deliver: Deliver) -> Reply:
        answered.append(request.path)
        return Reply(200, bytes(131072), 7)

    server = Server("127.0.0.1", 0, large)
    together = b"GET /active HTTP/1.1\r\n\r\n" * 127 + b"GET /active HTTP/1.0\r\n\r\n"
    try:
        with connect(server) as client:
            client.sendall(together)
            with connect(server) as other:
                other.sendall(b"GET /other HTTP/1.0\r\n\r\n")
                assert said(other).startswith(b"HTTP/1.1 200 ")
            before = len(answered)
            assert said(client).count(b"HTTP/1.1 200 ") == 128
    finally:
        server.close()

    assert before < 120
    assert len(answered) == 129


def test_a_large_body_does_not_destroy_its_answer(server):
    with connect(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)

        assert said(client).startswith(b"HTTP/1.1 405 ")


def test_one_connection_serves_many_requests_also_when_they_come_at_once(server):
    with connect(server) as client:
        client.sendall(b"GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\n")
        client.sendall(b"GET /3 HTTP/1.1\r\nConnection: close\r\n\r\n")
        answers = said(client)

    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert b'"/1"' in answers
    assert b'"/2"' not in answers
    assert b'"/3"' in answers


def test_a_check_in_http_1_0_ends_its_connection(server):
    """HAProxy's default check."""
    with connect(server) as client:
        client.sendall(b"OPTIONS / HTTP/1.0\r\n\r\n")

        assert said(client).endswith(b'{"path": "/"}\n')


@pytest.mark.parametrize("sent", [b"", b"GET /active HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_reset_is_no_news(server, sent, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    for _ in range(4):
        client = connect(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(sent)
        client.close()

    assert asked(server, "GET")[0] == 200
    assert (caplog.records, capfd.readouterr().err) == ([], "")


def test_a_thousand_slow_clients_take_neither_a_thread_nor_the_place_of_others(server):
    """Eight times as many connections as there is room for, each with half a request."""
    threads = threading.active_count()
    slow = [connect(server) for _ in range(1000)]
    for client in slow:
        client.sendall(b"GET /active HTTP/1.1\r\nX:")

    began_at = time.monotonic()
    assert asked(server, "GET")[0] == 200
    within(time.monotonic() - began_at, 0.1, "for a check among a thousand slow clients")
    assert threading.active_count() == threads
    # Those that came first made room for the later ones.
    assert slow[0].recv(1) == b""
    for client in slow:
        client.close()


def test_a_slow_client_is_cut_off_whatever_it_drips(monkeypatch):
    monkeypatch.setattr(server_module, "REQUEST_MAX_S", 0.2)
    server = Server("127.0.0.1", 0, _answer)
    cut_off = threading.Event()
    try:
        with connect(server) as client:

            def drip() -> None:
                pause = threading.Event()
                while not cut_off.is_set():
                    try:
                        client.send(b"x")
                    except OSError:
                        return
                    pause.wait(0.02)

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                gone = said(client)
            except ConnectionResetError:
                gone = b""
            cut_off.set()
            dripping.join()
    finally:
        server.close()

    assert gone == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),  # somebody speaks TLS
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET /" + b"a" * LINE_BYTES_MAX, 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * HEAD_BYTES_MAX, 431),
    ],
)
def test_what_is_no_request_is_refused_in_json_and_ends_the_connection(server, sent, status):
    with connect(server) as client:
        client.sendall(sent)
        head, _, body = said(client).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"X-Coord-Term: 7" in head
    assert set(json.loads(body)) == {"error"}


def test_a_request_is_read_alike_in_whatever_pieces_it_comes():
    whole = b"\r\nGET http://x:1/active?y HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\nGET"

    found = [parse(whole[:size]) for size in range(len(whole) + 1)]

    assert found[:-4] == [None] * (len(whole) - 3)
    headers = {"host": "x", "connection": "close"}
    assert found[-1] == (Request("GET", "/active", False, "y", headers), len(whole) - 3)


def test_a_line_of_blanks_is_refused_at_once():
    """A pattern that tries every way to split the blanks would take minutes here."""
    found = parse(b"GET / HTTP/1.1\r\nX:" + b" " * 8000 + b"\x01\r\n\r\n")

    assert found is not None
    assert isinstance(found[0], Refusal)


#: A process that has no descriptor left when a client comes, and some again afterwards.
OUT_OF_DESCRIPTORS = """
import os, resource, socket, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from coordinator.web.http1 import Reply
from coordinator.web.server import Server

server = Server("127.0.0.1", 0, lambda request, deliver: Reply(200, {}, 0))
client = socket.socket()
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
client.connect(server.address)
client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
pause = threading.Event()
while server._accept_at is None:
    pause.wait(0.01)
before = os.times()
pause.wait(0.5)
spent = os.times().user + os.times().system - before.user - before.system
for fd in taken:
    os.close(fd)
client.settimeout(20)
print(client.recv(12).decode(), spent < 0.25)
server.close()
"""


def test_without_descriptors_it_waits_instead_of_spinning_and_goes_on_later():
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_DESCRIPTORS],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("HTTP/1.1 200 True\n", "")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("client_host", ["127.0.0.1", "::1"])
def test_the_address_of_all_interfaces_takes_both_families(client_host):
    server = Server("::", 0, _answer)
    try:
        client = socket.create_connection((client_host, server.address[1]), timeout=TIMEOUT_S)
        with client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")

            assert said(client).startswith(b"HTTP/1.1 200 OK")
    finally:
        server.close()


def test_an_address_in_use_is_told_with_its_key(server):
    with pytest.raises(
        ConfigError, match=r"http\.listen: 127\.0\.0\.1:\d+: Address already in use"
    ):
        Server(*server.address, _answer)


def test_the_name_of_no_host_is_told():
    with pytest.raises(ConfigError, match=r"http\.listen: nowhere\.invalid:1: "):
        Server("nowhere.invalid", 1, _answer)

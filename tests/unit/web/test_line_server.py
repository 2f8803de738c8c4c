"""The agent-check's server: one line for each client, whatever the client does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from coordinator.errors import ConfigError
from coordinator.web.line_server import CONNECTIONS_MAX, LineServer

TIMEOUT_S = 20


@pytest.fixture
def server() -> Iterator[LineServer]:
    made = LineServer("127.0.0.1", 0, lambda: "up ready", setting="http.agentCheck")
    yield made
    made.close()


def connect(server: LineServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=TIMEOUT_S)


def said(client: socket.socket) -> bytes:
    """Return everything until the server ends the connection."""
    with client:
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_each_client_gets_the_line_and_the_end(server):
    assert [said(connect(server)) for _ in range(3)] == [b"up ready\n"] * 3


def test_what_a_client_sends_does_not_cost_it_the_line(server):
    client = connect(server)
    client.sendall(b"agent-send\n" * 1000)

    assert said(client) == b"up ready\n"


def test_a_client_that_never_ends_is_ended(server):
    silent = connect(server)

    assert said(connect(server)) == b"up ready\n"
    assert silent.recv(100) == b"up ready\n"
    assert silent.recv(100) == b""
    silent.close()


def test_silent_clients_hold_nobody_up(server):
    silent = [connect(server) for _ in range(3 * CONNECTIONS_MAX)]

    assert said(connect(server)) == b"up ready\n"
    for one in silent:
        one.close()


def test_resets_end_nothing(server):
    for _ in range(20):
        client = connect(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    assert said(connect(server)) == b"up ready\n"


def test_an_address_in_use_is_told_with_its_key(server):
    with pytest.raises(ConfigError, match=r"^http\.agentCheck: 127\.0\.0\.1:\d+: .*in use"):
        LineServer(*server.address, lambda: "", setting="http.agentCheck")


def test_after_the_end_nobody_answers(server):
    server.close()

    with pytest.raises(OSError):
        connect(server)

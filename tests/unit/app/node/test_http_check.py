"""The process of a health check by HTTP: each answer of a server, and none."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from coordinator.app.node.own.http_check import main


class Answers(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/?")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url():
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code"), [(200, 0), (204, 0), (302, 0), (400, 1), (404, 1), (500, 1), (503, 1)]
)
def test_the_status_decides(url, status, code):
    assert main([f"{url}/{status}", "20"]) == code


def test_a_closed_port_is_not_healthy(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    assert main([f"http://127.0.0.1:{port}/", "20"]) == 1
    assert "Connection refused" in capsys.readouterr().err


def test_a_server_that_never_answers_is_not_healthy():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert main([f"http://127.0.0.1:{silent.getsockname()[1]}/", "0.05"]) == 1


def test_nonsense_is_not_healthy():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"hello\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert main([f"http://127.0.0.1:{server.getsockname()[1]}/", "20"]) == 1
        thread.join()

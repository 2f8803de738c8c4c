"""The thread that answers HTTP on a node: GET, HEAD and OPTIONS, nothing that changes anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from coordinator.errors import ConfigError
from coordinator.web.endpoints import OK, Reply

#: A client that sends nothing for this long is cut off.
SILENT_MAX_S = 5.0

Answer = Callable[[str], Reply]


class Server:
    """Serves until it is closed; `address` is where, with the port that the system chose."""

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(answer))
        except OSError as error:
            raise ConfigError(f"--listen {host}:{port}: {error.strerror or error}") from error
        self._server.daemon_threads = True
        self.address: tuple[str, int] = (host, self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="coord-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of "host:port" or ":port"; no host is the loopback interface."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "coord"
        sys_version = ""
        timeout = SILENT_MAX_S

        def do_GET(self) -> None:
            self._reply(with_body=True)

        def do_HEAD(self) -> None:
            self._reply(with_body=False)

        def do_OPTIONS(self) -> None:
            # HAProxy's default check: only the status counts.
            self._reply(with_body=True)

        def _reply(self, *, with_body: bool) -> None:
            reply = answer(self.path.partition("?")[0])
            body = json.dumps(reply.body).encode() + b"\n"
            self.send_response(reply.status, "OK" if reply.status == OK else None)
            self.send_header("Content-Type", "application/json")
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Coord-Term", str(reply.term))
            self.send_header("Allow", "GET, HEAD, OPTIONS")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Health checks come every second; they are no news."""

    return Handler

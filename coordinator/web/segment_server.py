"""Server of this node's segments for other nodes of its group: bounded, over TLS, all signed.

Each connection carries one request. A file that is received gets its name only when its digest is
the one that the sender signed.
"""

from __future__ import annotations

import hmac
import http.server
import json
import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from coordinator.errors import ConfigError
from coordinator.segments.devices.disk import Disk, Writing
from coordinator.segments.faults import DiskError, SegmentAbsentError, SegmentDamagedError
from coordinator.segments.file import TRAILER_BYTES, new_digest, stored_digest
from coordinator.segments.transfer.certificate import Identity
from coordinator.segments.transfer.signing import (
    HEADER,
    MAC_BYTES,
    Request,
    TransferError,
    body_mac,
    checked,
)
from coordinator.web.listening import split_address

#: Connections at the same time; one more is closed at once, and its sender takes another device.
CONNECTIONS_MAX = 32
#: Silence after which a connection is closed.
SILENCE_MAX_S = 20.0
#: Longest life of one request: a file may be large, and a slow sender must not stay for ever.
REQUEST_MAX_S = 1_800.0
#: Largest file that is received.
FILE_BYTES_MAX = 1 << 40
CHUNK_BYTES = 1 << 18

_PATH = re.compile(
    r"/segments/(?P<group>[A-Za-z0-9_.:@-]+)/(?P<device>[0-9a-f-]{36})/(?P<segment>[0-9a-f-]{36})"
)
_RANGE = re.compile(r"bytes=(\d{1,18})-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Disks that a server serves, and the group that it serves.

    now_s: the database's clock; elapsed_s: a clock that only goes on.
    """

    group: str
    key: bytes
    disks: Mapping[str, Disk]
    now_s: Callable[[], float]
    elapsed_s: Callable[[], float]
    silence_max_s: float = SILENCE_MAX_S


class SegmentServer:
    """Serves segments until it is closed.

    Errors: ConfigError when it cannot listen on the address.
    """

    def __init__(self, address: str, identity: Identity, served: Served) -> None:
        host, port = split_address(address)
        try:
            self._server = _Server((host, port), identity.context, served)
        except OSError as error:
            raise ConfigError(
                f"checkpoints.listen: cannot listen on {address}: {error.strerror or error}"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="coord-segments", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop taking connections, and close those that are open."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, served: Served) -> None:
        self.context, self.served = context, served
        self.room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(address, _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """Take a connection if there is room for it."""
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection in its own thread."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self.room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a peer that breaks off tells its own user."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "coord"
    sys_version = ""
    error_content_type = "application/json"
    error_message_format: ClassVar[str] = '{"text": "%(message)s"}'  # type: ignore[misc]

    def setup(self) -> None:
        """Shake hands in this connection's own thread, within the limit of silence."""
        self.served = self.server.served
        self.until_s = self.served.elapsed_s() + REQUEST_MAX_S
        self.request.settimeout(self.served.silence_max_s)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self) -> None:
        """Send a file, from the offset that Range names."""
        self._answered(self._send)

    def do_PUT(self) -> None:
        """Receive a file."""
        self._answered(self._receive)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing for each request."""

    def _answered(self, act: Callable[[Disk, str, Request], None]) -> None:
        self.close_connection = True
        try:
            request = checked(
                self.served.key,
                self.command,
                self.path,
                self.headers.get(HEADER, ""),
                self.served.now_s(),
            )
            act(*self._found(request), request)
        except SegmentAbsentError as error:
            self._tell(404, str(error))
        except SegmentDamagedError as error:
            self._tell(422, str(error))
        except TransferError as error:
            self._tell(403, str(error))
        except DiskError as error:
            self._tell(507, str(error), error.state)

    def _found(self, request: Request) -> tuple[Disk, str]:
        named = _PATH.fullmatch(request.path)
        if named is None or named["group"] != self.served.group:
            raise TransferError("there is no such place here")
        disk = self.served.disks.get(named["device"])
        if disk is None:
            raise DiskError("this node has no such storage device")
        return disk, named["segment"]

    def _send(self, disk: Disk, segment: str, _request: Request) -> None:
        asked = _RANGE.fullmatch(self.headers.get("Range", "bytes=0-"))
        offset = int(asked[1]) if asked else 0
        with disk.reading(segment, offset) as reading:
            left = max(0, reading.length() - offset)
            self.send_response(206)
            self.send_header("Content-Length", str(left))
            self.send_header("Connection", "close")
            self.end_headers()
            while left and (part := reading.read(min(left, CHUNK_BYTES))):
                self._in_time()
                self.wfile.write(part)
                left -= len(part)

    def _receive(self, disk: Disk, segment: str, request: Request) -> None:
        given = self.headers.get("Content-Length", "")
        size = int(given) - MAC_BYTES if given.isdecimal() else -1
        if not TRAILER_BYTES < size <= FILE_BYTES_MAX:
            raise TransferError("its length is not one of a segment")
        with disk.writing(segment) as writing:
            digest, trailer = self._stored(writing, size)
            mac = self._read(MAC_BYTES)
            if not _is_of(digest, trailer):
                raise TransferError("what arrived does not match its own digest")
            if not hmac.compare_digest(mac, body_mac(self.served.key, request, digest)):
                raise TransferError("the digest is not the one that was signed")
            writing.keep()
        self._tell(201, "kept")

    def _stored(self, writing: Writing, size: int) -> tuple[bytes, bytes]:
        """Write the file; return the digest of what arrived, and the end of the file."""
        computed = new_digest()
        left = size - TRAILER_BYTES
        chunk = memoryview(bytearray(CHUNK_BYTES))
        while left:
            self._in_time()
            arrived = self.rfile.readinto(chunk[:left])
            if not arrived:
                raise TransferError("the sender broke off")
            computed.update(chunk[:arrived])
            writing.write(chunk[:arrived])
            left -= arrived
        trailer = self._read(TRAILER_BYTES)
        writing.write(trailer)
        return computed.digest(), trailer

    def _read(self, size: int) -> bytes:
        part = self.rfile.read(size)
        if len(part) < size:
            raise TransferError("the sender broke off")
        return part

    def _in_time(self) -> None:
        if self.served.elapsed_s() > self.until_s:
            raise TransferError(f"the request took longer than {REQUEST_MAX_S:.0f} s")

    def _tell(self, status: int, text: str, state: str = "offline") -> None:
        body = json.dumps({"text": text, "state": state}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _is_of(digest: bytes, trailer: bytes) -> bool:
    """Return true when the end of a file has this digest."""
    try:
        return stored_digest(trailer) == digest
    except SegmentDamagedError:
        return False

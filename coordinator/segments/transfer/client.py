"""Segments of other nodes: HTTP by the standard library, with the peer's certificate pinned."""

from __future__ import annotations

import hmac
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from coordinator.segments.faults import DiskError, SegmentAbsentError, SegmentDamagedError
from coordinator.segments.transfer.certificate import fingerprint_of
from coordinator.segments.transfer.signing import (
    HEADER,
    MAC_BYTES,
    SIGNED_FOR_S,
    Request,
    TransferError,
    body_mac,
    path_of,
    signature,
)

#: Silence of a peer after which another segment is read instead.
SILENCE_MAX_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node that serves segments.

    address:     "host:port".
    fingerprint: of its certificate, as its row has it.
    key:         of the group.
    now_s:       the database's clock.
    """

    node: str
    address: str
    fingerprint: str
    group: str
    key: bytes
    term: int
    now_s: Callable[[], float]
    silence_max_s: float = SILENCE_MAX_S

    @contextmanager
    def reading(self, device: str, segment: str, offset: int = 0) -> Iterator[RemoteReading]:
        """Open a segment's file from an offset on.

        Errors: SegmentAbsentError, SegmentDamagedError, DiskError; TransferError.
        """
        with self._connected() as connection:
            request = self._signed(connection, "GET", device, segment)
            connection.putheader("Range", f"bytes={offset}-")
            connection.endheaders()
            answer = connection.getresponse()
            self.refuse_others(answer, (200, 206))
            yield RemoteReading(answer, request.path)

    @contextmanager
    def writing(self, device: str, segment: str, file_bytes: int) -> Iterator[RemoteWriting]:
        """Send a segment's file; without `keep` the peer keeps nothing.

        Errors: DiskError; TransferError.
        """
        with self._connected() as connection:
            request = self._signed(connection, "PUT", device, segment)
            connection.putheader("Content-Length", str(file_bytes + MAC_BYTES))
            connection.endheaders()
            yield RemoteWriting(self, connection, request)

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPSConnection]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # No authority: the fingerprint is compared before anything is sent.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            self.address, timeout=self.silence_max_s, context=context
        )
        try:
            with self.transfer_errors():
                connection.connect()
                self._refuse_another(connection.sock)
                yield connection
        finally:
            connection.close()

    @contextmanager
    def transfer_errors(self) -> Iterator[None]:
        """Turn what a socket or a broken answer raises into a TransferError."""
        try:
            yield
        except (http.client.HTTPException, OSError) as error:
            what = str(error) or type(error).__name__
            raise TransferError(f"node {self.node} at {self.address}: {what}") from error

    def _refuse_another(self, socket: object) -> None:
        assert isinstance(socket, ssl.SSLSocket), "an HTTPS connection is one of TLS"
        shown = fingerprint_of(socket.getpeercert(binary_form=True) or b"")
        if not hmac.compare_digest(shown, self.fingerprint):
            raise TransferError(
                f"node {self.node} at {self.address}: its certificate is not the one that it"
                " published in the database"
            )

    def _signed(
        self, connection: http.client.HTTPSConnection, method: str, device: str, segment: str
    ) -> Request:
        request = Request(
            method=method,
            path=path_of(self.group, device, segment),
            term=self.term,
            expires_at=int(self.now_s()) + SIGNED_FOR_S,
        )
        connection.putrequest(method, request.path, skip_accept_encoding=True)
        connection.putheader(HEADER, signature(self.key, request))
        return request

    def refuse_others(self, answer: http.client.HTTPResponse, expected: tuple[int, ...]) -> None:
        """Return for an expected status.

        Errors: SegmentAbsentError, SegmentDamagedError, DiskError, TransferError, with its reason.
        """
        if answer.status in expected:
            return
        raw = answer.read(4_096)
        try:
            told = json.loads(raw)
            text, state = str(told["text"])[:1_000], str(told.get("state", "offline"))
        except (ValueError, KeyError, TypeError, AttributeError):
            text, state = f"HTTP status {answer.status}", "offline"
        text = f"node {self.node}: {text}"
        if answer.status == 404:
            raise SegmentAbsentError(text)
        if answer.status == 422:
            raise SegmentDamagedError(text)
        if answer.status == 507:
            raise DiskError(text, state)
        raise TransferError(text)


class RemoteReading:
    """A file that a peer sends."""

    __slots__ = ("_answer", "_what")

    def __init__(self, answer: http.client.HTTPResponse, what: str) -> None:
        self._answer, self._what = answer, what

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes; none at the end.

        Errors: TransferError when the peer is silent or cuts off.
        """
        try:
            return self._answer.read(size)
        except (http.client.HTTPException, OSError) as error:
            raise TransferError(f"{self._what}: {str(error) or type(error).__name__}") from error


class RemoteWriting:
    """A file that is sent to a peer."""

    __slots__ = ("_connection", "_peer", "_request")

    def __init__(
        self, peer: Peer, connection: http.client.HTTPSConnection, request: Request
    ) -> None:
        self._peer, self._connection, self._request = peer, connection, request

    def write(self, part: bytes) -> None:
        """Add bytes.

        Errors: DiskError with the peer's reason when it has one; TransferError.
        """
        with self._peer.transfer_errors():
            try:
                self._connection.send(part)
            except OSError:
                # It may have answered before the end: a full disk, a refusal.
                self._peer.refuse_others(self._connection.getresponse(), ())
                raise

    def keep(self, digest: bytes) -> None:
        """Sign the digest, and wait until the peer has the file on its disk.

        Errors: as `write`.
        """
        self.write(body_mac(self._peer.key, self._request, digest))
        with self._peer.transfer_errors():
            self._peer.refuse_others(self._connection.getresponse(), (201,))


__all__ = ["Peer", "RemoteReading", "RemoteWriting"]

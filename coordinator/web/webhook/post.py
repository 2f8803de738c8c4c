"""One request to a webhook: bounded in time and in bytes, and never sent anywhere else.

It is written on the socket itself. A client of HTTP bounds each single read, so a receiver that
sends a byte now and then would hold it for ever; here all of it has one deadline. Of the answer
the status is read, at most 16 KiB, and nothing behind it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

from coordinator.web.webhook.target import Target

#: Bytes of the head of an answer, with those of interim ones before it.
HEAD_MAX = 16_384
#: Answers such as 103 (early hints) that may come before the one that counts.
INTERIM_MAX = 5


class NotDeliveredError(Exception):
    """A request that was not answered by success; the text says why, without any secret."""


def post(target: Target, headers: Mapping[str, str], body: bytes, timeout_s: float) -> None:
    """Send a request, and return once it was answered with a status from 200 to 299.

    Errors: NotDeliveredError.
    """
    until = time.monotonic() + timeout_s
    with _connected(target, until) as connection:
        head = [f"POST {target.path} HTTP/1.1", f"Host: {target.named}", "Connection: close"]
        head += [f"Content-Length: {len(body)}", *(f"{key}: {headers[key]}" for key in headers)]
        try:
            _bound(connection, until)
            connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        except TimeoutError:
            raise NotDeliveredError("did not take the request in time") from None
        except OSError as error:
            raise NotDeliveredError(f"broke the connection: {_why(error)}") from None
        status = _status(connection, until)
    if 300 <= status < 400:
        raise NotDeliveredError(f"answered {status}: a redirect is not followed")
    if not 200 <= status < 300:
        raise NotDeliveredError(f"answered {status}")


def reach(target: Target, timeout_s: float) -> None:
    """Connect, with TLS where it is asked for, and send nothing.

    Errors: NotDeliveredError.
    """
    with _connected(target, time.monotonic() + timeout_s):
        pass


@contextlib.contextmanager
def _connected(target: Target, until: float) -> Iterator[socket.socket]:
    connection: socket.socket
    try:
        # One address after the other, each with an equal part of the time that is left.
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        connection = _first(found, until)
    except TimeoutError:
        raise NotDeliveredError("cannot be reached: no answer in time") from None
    except OSError as error:
        raise NotDeliveredError(f"cannot be reached: {_why(error)}") from None
    with contextlib.ExitStack() as opened:
        opened.enter_context(connection)
        if target.encrypted:
            context = ssl.create_default_context()
            try:
                _bound(connection, until)
                connection = context.wrap_socket(connection, server_hostname=target.host)
            except TimeoutError:
                raise NotDeliveredError("TLS: no answer in time") from None
            except ssl.SSLCertVerificationError as error:
                raise NotDeliveredError(f"TLS: {error.verify_message}") from None
            except OSError as error:
                raise NotDeliveredError(f"TLS: {_why(error)}") from None
            opened.enter_context(connection)
        yield connection


def _first(found: list[Any], until: float) -> socket.socket:
    """Connect to the first address that answers."""
    error: OSError = OSError("it has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        left_s = max(0.001, until - time.monotonic())
        connection.settimeout(left_s / (len(found) - number))
        try:
            connection.connect(address)
        except OSError as refused:
            connection.close()
            error = refused
        else:
            return connection
    raise error


def _status(connection: socket.socket, until: float) -> int:
    """Read the head of the answer, and return its status."""
    head = b""
    try:
        for _ in range(INTERIM_MAX):
            while b"\r\n\r\n" not in head:
                if len(head) > HEAD_MAX:
                    raise NotDeliveredError("answered with an endless head")
                _bound(connection, until)
                more = connection.recv(4096)
                if not more:
                    raise NotDeliveredError("closed the connection without an answer")
                head += more
            status = _status_in(head)
            if status >= 200:
                return status
            head = head.partition(b"\r\n\r\n")[2]
    except TimeoutError:
        raise NotDeliveredError("did not answer in time") from None
    except OSError as error:
        raise NotDeliveredError(f"broke the connection: {_why(error)}") from None
    raise NotDeliveredError("answered without an end")


def _status_in(head: bytes) -> int:
    """Return the status of a first line, as in "HTTP/1.1 204 No Content"."""
    version, _, rest = head.partition(b" ")
    digits = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(digits) != 3 or not digits.isdigit():
        raise NotDeliveredError("did not answer in HTTP/1.1")
    return int(digits)


def _bound(connection: socket.socket, until: float) -> None:
    """Let the next call on the socket end at the deadline."""
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)


def _why(error: OSError) -> str:
    return str(error.strerror or error)[:200]

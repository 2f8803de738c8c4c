"""Sockets that listen on an address, as a setting names it."""

from __future__ import annotations

import errno
import socket
from typing import Any

from coordinator.errors import ConfigError

BACKLOG = 128
#: This machine lacks the address, or its family.
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of "host:port" or ":port"; without a host, the loopback interface."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def listening(host: str, port: int, *, setting: str) -> list[socket.socket]:
    """Listen on every address of the host; "::" takes IPv4 as well.

    setting: the name of what has the address, for the error.
    Errors: ConfigError if it cannot listen on any of them, or one is in use.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        found.sort(key=lambda each: each[0] != socket.AF_INET)
        missing: OSError | None = None
        for family, _, _, _, listed in dict.fromkeys(found):
            address: tuple[Any, ...] = listed
            if port == 0 and opened:
                address = (address[0], opened[0].getsockname()[1], *address[2:])
            try:
                opened.append(_listener(family, address))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                missing = error  # "localhost" is ::1 too, on machines that have no IPv6
        if missing is not None and not opened:
            raise missing
    except (OSError, UnicodeError) as error:
        for each in opened:
            each.close()
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{setting}: {written(host, port)}: {why}") from error
    return opened


def written(host: str, port: int) -> str:
    """Return an address as it is written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listener(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener

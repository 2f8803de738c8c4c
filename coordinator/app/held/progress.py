"""Reports of progress to the node, in the protocol of sd_notify(3)."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress

#: Share of the time within which progress is expected; reports that follow sooner are not sent.
PROGRESS_SHARE = 0.1


class ProgressReports:
    """Sender of the reports that the node expects; it never waits for the node."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        # A loop may report at every turn; the node does not need each report.
        self._every_s = float(environ.get("WATCHDOG_USEC", "0")) / 1e6 * PROGRESS_SHARE
        self._next_at = float("-inf")

    def send(self) -> None:
        """Report progress; without effect if the node expects no reports."""
        now = time.monotonic()
        if not self._address or now < self._next_at:
            return
        self._next_at = now + self._every_s
        address = self._address
        if address[0] == "@":
            address = "\0" + address[1:]
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
            suppress(BlockingIOError, ConnectionError, FileNotFoundError),
        ):
            line.setblocking(False)
            line.sendto(b"WATCHDOG=1", address)

"""Checks of the other hosts of the database now and then (rule E4).

Two primaries can both acknowledge after an asynchronous failover. Waiting does not help then; but
a node that sees the newer one stops at once, so the overlap is no longer than one check.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from coordinator.ports import Clock
from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.node.events import Event, PrimarySeen

#: Checks of one host that may run at the same time: a host that swallows packets is checked again
#: before the earlier checks were given up.
UNDER_WAY_MAX = 4


class Look(Protocol):
    """A check of one host; `over`: it need not be checked any more."""

    over: bool

    def __call__(self) -> Identity | None:
        """Return the identity of a server that takes writes there; None if none does."""
        ...


class HostWatch:
    """Checks every host each `every_s` seconds and posts what it sees, until it is stopped.

    No host waits for another, nor a check for the one before: each has a thread of its own.
    """

    def __init__(
        self, looks: Sequence[Look], clock: Clock, post: Callable[[Event], None], every_s: float
    ) -> None:
        self._clock, self._post, self._every_s = clock, post, every_s
        self._under_way = dict.fromkeys(range(len(looks)), 0)
        self._looks = looks
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.begin()

    def begin(self) -> None:
        """Start checking, unless started; without a thread to spare, call it again later."""
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="coord-lookout", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return
        self._thread = thread

    def stop(self) -> None:
        """Stop checking; a check that hangs in the driver is left to end by itself."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            for index, look in enumerate(self._looks):
                if not look.over:
                    self._begin(index, look)
            if all(look.over for look in self._looks):
                return

    def _begin(self, index: int, look: Look) -> None:
        with self._lock:
            if self._under_way[index] >= UNDER_WAY_MAX:
                return
            self._under_way[index] += 1
        thread = threading.Thread(
            target=self._look, args=(index, look), name="coord-look", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no thread is available at present
            self._ended(index)

    def _look(self, index: int, look: Look) -> None:
        try:
            identity = look()
            if identity is not None and not self._stop.is_set():
                self._post(PrimarySeen(self._clock.now(), identity))
        finally:
            self._ended(index)

    def _ended(self, index: int) -> None:
        with self._lock:
            self._under_way[index] -= 1

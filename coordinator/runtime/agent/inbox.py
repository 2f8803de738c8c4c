"""One inbox for all events of a node, with a descriptor for a selector."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any


class Inbox:
    """A queue of events from other threads; its descriptor is readable when it has one.

    Bound: every sender has at most a handful of events under way (one answer of the courier,
    one request of each caller), so the queue needs no limit of its own.
    """

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        # Reentrant: the handler of a signal may put an event while its thread puts another.
        self._lock = threading.RLock()
        self._closed = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._wake

    def put(self, event: Any) -> None:
        """Add an event; callable from any thread. Nothing happens once the inbox is closed."""
        with self._lock:
            # The number of a closed descriptor may belong to another file by now.
            if not self._closed:
                self._events.append(event)
                os.eventfd_write(self._wake, 1)

    def take(self) -> Iterator[Any]:
        """Yield the events that have come, oldest first."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._events:
            yield self._events.popleft()

    def close(self) -> None:
        """Close the descriptor; later events are dropped."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._wake)

"""A thread that looks at the other hosts of the database now and then (rule E4).

Two primaries can both acknowledge after an asynchronous failover. Time cannot help then; but a
node that sees the newer one stops at once, so that the overlap is no longer than one look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from coordinator.ports import Clock
from coordinator.protocol.events import Event, PrimarySeen
from coordinator.protocol.requests import Identity


class Lookout:
    """Looks every `every_s` seconds and posts what it sees, until it is stopped."""

    def __init__(
        self,
        look: Callable[[], Iterable[Identity]],
        clock: Clock,
        post: Callable[[Event], None],
        every_s: float,
    ) -> None:
        self._look, self._clock, self._post, self._every_s = look, clock, post, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coord-lookout", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; a look that hangs in the driver is left to end by itself."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            for identity in self._look():
                if self._stop.is_set():
                    return
                self._post(PrimarySeen(self._clock.now(), identity))

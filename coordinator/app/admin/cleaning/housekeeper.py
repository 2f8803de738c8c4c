"""Retention by a running node: its holder, or the observer, deletes old rows now and then.

It runs in a thread of its own, on a connection of its own that is open for some steps only, so no
heartbeat waits for it. Nothing depends on it: what fails is tried again an hour later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from coordinator.errors import CoordError
from coordinator.protocol.rules.ranking import spread
from coordinator.store.admin.cleaning.retention import prune_step
from coordinator.store.admin.connection import AdminConnection

#: Seconds between two cleanings, and between two steps of one.
EVERY_S = 3600.0
STEP_PAUSE_S = 1.0
#: Steps of one cleaning: 50,000 rows of each kind; the next one goes on.
STEPS_MAX = 100
#: A step is given up after so many seconds.
TIMEOUT_S = 30.0


class Housekeeper:
    """Thread that cleans while `holds` says that this node should; start it by `begin`.

    seed: of the first wait, so that the nodes of many groups do not clean at the same moment.
    """

    def __init__(
        self,
        connect: Callable[[], AdminConnection],
        group: str,
        holds: Callable[[], bool],
        *,
        seed: str,
        every_s: float = EVERY_S,
    ) -> None:
        self._connect, self._group, self._holds = connect, group, holds
        self._every_s = every_s
        self._first_s = every_s * (0.1 + 0.9 * spread(seed, 0))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start, unless started; without a thread to spare, call it again later."""
        if self._thread is not None or self._stop.is_set():
            return
        thread = threading.Thread(target=self._run, name="coord-cleaning", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return
        self._thread = thread

    def stop(self) -> None:
        """Stop; a step that hangs in the driver is left to end by itself."""
        self._stop.set()

    def _run(self) -> None:
        wait_s = self._first_s
        while not self._stop.wait(wait_s):
            wait_s = self._every_s
            if self._holds():
                self.clean()

    def clean(self) -> int:
        """Delete what is too old, step by step, while this node holds; return how many rows."""
        gone = 0
        try:
            with closing(self._connect()) as database:
                for _ in range(STEPS_MAX):
                    step = prune_step(database, self._group)
                    gone += step
                    if not step or not self._holds() or self._stop.wait(STEP_PAUSE_S):
                        break
        except CoordError:
            return gone  # the next cleaning goes on
        return gone

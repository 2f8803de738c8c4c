"""One claimed subtask while it runs: its progress, and whether it is asked to stop."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

from coordinator.errors import CoordError, TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.operations import hung
from coordinator.protocol.operations.types import Location

#: Seconds between two reports of progress; a cancel is seen after as long.
REPORT_S = 0.5


@dataclass(slots=True, kw_only=True)
class Subtask:
    """A `ClaimedSubtask` (coordinator.ports)."""

    operation: str
    subtask: str
    group: str
    node: str
    session: str
    term: int
    attempt: int
    location: Location
    location_name: str | None
    options: Mapping[str, Any]
    entity: str
    argument: Mapping[str, Any]
    settings: Any
    schema: str
    open_transaction: Callable[[str, int], AbstractContextManager[Any]]
    leaving: threading.Event
    cancelled: threading.Event = field(default_factory=threading.Event)
    units: int = 0
    failed: int = 0
    size: int = 0
    total: int | None = None

    def transaction(self) -> AbstractContextManager[Any]:
        """Open a transaction that commits only while the claim is held."""
        return self.open_transaction(self.subtask, self.term)

    def stop_asked(self) -> bool:
        """Say whether the operation is cancelled, or the node leaves."""
        return self.cancelled.is_set() or self.leaving.is_set()

    def progress(
        self, *, units: int, failed: int = 0, size: int = 0, total_units: int | None = None
    ) -> None:
        """Note what this run has done so far, in total."""
        self.units, self.failed, self.size, self.total = units, failed, size, total_units


class Life:
    """Signs of life for the node while a subtask runs: as long as its figures move (J2)."""

    def __init__(self, clock: Clock, limit_s: float | None, sign: Callable[[], None]) -> None:
        self._clock, self._limit_s, self._sign = clock, limit_s, sign
        self._figures: hung.Figures | None = None

    def look(self, subtask: Subtask) -> None:
        """Give a sign, unless the figures have stood still for too long."""
        now = self._clock.now()
        told = (subtask.units, subtask.failed, subtask.size)
        self._figures = hung.noted(self._figures, told, now)
        if hung.lives(self._figures, self._limit_s, now):
            self._sign()


class Reporter:
    """A thread that reports a subtask's progress, and hears whether it is to stop."""

    def __init__(self, subtask: Subtask, report: Callable[[Subtask], str], life: Life) -> None:
        self._subtask, self._report, self._life = subtask, report, life
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coord-report", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def end(self) -> None:
        """Report no more; returns when the thread has ended, or the database is late."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(REPORT_S):
            # An outage ends the worker at the end of trust; until then it goes on.
            with suppress(CoordError):
                self.once()
            self._life.look(self._subtask)

    def once(self) -> None:
        """Report once; a claim that is another's ends the process, wherever it is."""
        verdict = self._report(self._subtask)
        if verdict == "stop":
            self._subtask.cancelled.set()
        elif verdict == "lost":
            os._exit(TokenLostError.exit_code)

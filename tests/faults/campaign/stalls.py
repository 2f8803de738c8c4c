"""Delays of the machine: how late a thread runs that has nothing else to do.

What a node tells may be late by as much, and by no constant that holds for every machine.
"""

from __future__ import annotations

import threading

from tests.faults.campaign.history import Span
from tests.faults.campaign.remembered import boottime

#: It wakes so often; to be woken later than that by less than NOTED_S is no news.
LOOK_S = 0.02
NOTED_S = 0.01
#: A thread that waits for an event ends with it.
ENDS_WITHIN_S = 10.0


class Stalls:
    """Notes from its beginning to its end when a thread that was due was not woken."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)
        self.spans: list[Span] = []

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(ENDS_WITHIN_S)

    def _watch(self) -> None:
        due_at = boottime() + LOOK_S
        while not self._ended.wait(max(0.0, due_at - boottime())):
            now = boottime()
            if now - due_at > NOTED_S:
                self.spans.append(Span(due_at, now))
            due_at = now + LOOK_S


def stalled_s(spans: list[Span], since: float, until: float) -> float:
    """Return for how long of a stretch of time the machine kept its watcher waiting."""
    return sum(max(0.0, min(span.until, until) - max(span.since, since)) for span in spans)

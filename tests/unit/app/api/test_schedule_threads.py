"""Threads of schedules on a machine that has none to spare."""

from __future__ import annotations

import queue
import threading

import pytest

from coordinator import JobContext
from coordinator.errors import CoordError
from coordinator.testing import FakeCoordinator

WITHIN_S = 60.0


@pytest.fixture
def third_refused(monkeypatch) -> None:
    """Refuse the third thread of a schedule, as the kernel does at the limit of a user."""
    start, seen = threading.Thread.start, []

    def refused(self: threading.Thread) -> None:
        if self.name.startswith("coord-job"):
            seen.append(self)
            if len(seen) == 3:
                raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)


def test_the_token_is_kept_until_the_runs_that_did_start_have_ended(third_refused):
    coordinator = FakeCoordinator()
    held: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def work(context: JobContext) -> None:
        context.stop_event.wait(WITHIN_S)
        held.put(context.token.is_held())

    for name in ("a", "b", "c"):
        coordinator.every("1h", name=name, group_token=True)(work)
    with pytest.raises(CoordError, match="can't start new thread"):
        coordinator.run()

    assert [held.get() for _ in range(held.qsize())] in ([], [True])


def test_a_start_without_threads_leaves_nothing_and_can_be_repeated(third_refused):
    coordinator = FakeCoordinator()
    for name in ("a", "b", "c"):
        coordinator.every("1h", name=name)(lambda: None)

    with pytest.raises(CoordError, match="cannot be started"):
        coordinator.start()
    assert coordinator.stop(WITHIN_S)
    coordinator.start()

    assert coordinator.stop(WITHIN_S)

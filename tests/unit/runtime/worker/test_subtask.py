"""Signs of life of a worker while it runs a subtask (J2)."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from coordinator.errors import DatabaseUnreachableError
from coordinator.runtime.worker.subtask import Life, Reporter


class Hands:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at


def subtask(units: int = 0) -> SimpleNamespace:
    return SimpleNamespace(units=units, failed=0, size=0, cancelled=threading.Event())


def test_a_run_gives_signs_until_its_figures_have_stood_still_too_long():
    clock, given = Hands(), []
    life, work = Life(clock, 100.0, lambda: given.append(clock.at)), subtask()

    for clock.at in (0.0, 99.0, 100.0, 150.0):
        life.look(work)
    work.units = 1
    clock.at = 160.0
    life.look(work)

    assert given == [0.0, 99.0, 160.0]


def test_a_reporter_gives_signs_while_the_database_is_away():
    """An outage is none of the worker's: its trust ends it."""
    given = threading.Event()

    def away(_subtask: object) -> str:
        raise DatabaseUnreachableError("away")

    reporter = Reporter(subtask(), away, Life(Hands(), None, given.set))
    reporter.start()
    try:
        assert given.wait(30.0)
    finally:
        reporter.end()

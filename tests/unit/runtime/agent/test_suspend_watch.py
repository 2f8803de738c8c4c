"""T6: that the machine was suspended is noticed, whatever its kernel makes of the time."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest

from coordinator.runtime.agent import suspend_watch
from coordinator.runtime.agent.suspend_watch import COUNTED_AFTER_S, NOISE_S, SuspendWatch

BOOTTIME = 7


class Machine:
    """Clocks and a count of sleeps that a test sets."""

    def __init__(self, count) -> None:
        self.monotonic, self.asleep_s, self.count, self.held_up_s = 100.0, 7.0, count, []
        self.told = 0

    def read(self, clock: int) -> float:
        self.monotonic += self.held_up_s.pop(0) if self.held_up_s else 1e-6
        slept = self.asleep_s if clock == BOOTTIME else 0.0
        return self.monotonic + slept

    def sleep(self, counted_s: float) -> None:
        self.asleep_s += counted_s
        if self.count.exists():
            self.count.write_text(f"{int(self.count.read_text()) + 1}\n")

    def tell(self) -> None:
        self.told += 1


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path / "success")
    made.count.write_text("9\n")
    monkeypatch.setattr(suspend_watch, "COUNT", str(made.count))
    clocks = SimpleNamespace(clock_gettime=made.read, CLOCK_MONOTONIC=0, CLOCK_BOOTTIME=BOOTTIME)
    monkeypatch.setattr(suspend_watch, "time", clocks)
    return made


@pytest.fixture
def watching():
    """Make watches, and close them after the test."""
    with contextlib.ExitStack() as opened:

        def watching(tell, **how) -> SuspendWatch:
            return opened.enter_context(contextlib.closing(SuspendWatch(tell, **how)))

        yield watching


def looks(watch: SuspendWatch, machine: Machine, times: int = 3) -> int:
    before = machine.told
    for _ in range(times):
        assert list(watch.events()) == []
    return machine.told - before


def test_a_sleep_is_told_of_once(machine, watching):
    watch = watching(machine.tell)
    assert looks(watch, machine) == 0

    machine.sleep(counted_s=1.7)

    assert looks(watch, machine) == 1


@pytest.mark.parametrize("counted_s", [0.0, -0.4])
def test_a_sleep_that_counts_for_nothing_is_told_of(machine, watching, counted_s):
    watch = watching(machine.tell)

    machine.sleep(counted_s)

    assert looks(watch, machine) == 1


def test_a_sleep_that_is_counted_late_is_not_told_of_by_the_next_agent(machine, watching):
    watch = watching(machine.tell, succeeds=True)

    machine.sleep(counted_s=0.0)

    assert looks(watch, machine) == 0
    machine.monotonic += COUNTED_AFTER_S
    assert looks(watch, machine) == 0
    machine.sleep(counted_s=0.0)
    assert looks(watch, machine) == 1


def test_a_count_that_cannot_be_read_any_more_is_no_sleep(machine, watching):
    watch = watching(machine.tell)

    machine.count.write_text("")

    assert looks(watch, machine) == 0


def test_where_the_kernel_does_not_count_its_sleeps_the_clocks_tell(machine, watching):
    machine.count.unlink()
    watch = watching(machine.tell)

    machine.sleep(counted_s=0.3)

    assert looks(watch, machine) == 1


def test_a_process_that_is_held_up_between_two_clocks_has_not_slept(machine, watching):
    watch = watching(machine.tell)

    machine.held_up_s = [1e-6, 1e-6, 10 * NOISE_S, 1e-6, 10 * NOISE_S]

    assert looks(watch, machine) == 0


def test_this_machine_has_not_slept_while_it_was_looked_at(watching):
    told = []
    watch = watching(lambda: told.append(1))

    assert [list(watch.events()) for _ in range(100)] == [[]] * 100
    assert told == []

"""Spare and successor kill by themselves, at the right moment (rules G7 and G9)."""

from __future__ import annotations

import math
import os
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.state import RUNS_MAX
from coordinator.protocol.node.events import ProgramEnded
from coordinator.protocol.node.state import spare_watch
from coordinator.protocol.node.state.run import INHERITED
from coordinator.protocol.rules import backstops
from coordinator.runtime.agent.backstop import SpareBackstop
from coordinator.runtime.isolation import deadlines
from coordinator.runtime.isolation.deadlines import Deadlines
from coordinator.runtime.linux import processes as proctable
from coordinator.runtime.linux.channel import Channel, pair
from coordinator.runtime.linux.clock import BoottimeClock
from tests.unit.runtime.agent.test_guardian_link import Line, await_death, lives

now = BoottimeClock().now
Message = dict[str, Any]
FAR_S = 600.0


@pytest.fixture
def sleepers() -> Iterator[list[Message]]:
    """Return the handles of two programs that never end by themselves."""
    processes = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(2)]
    keeper = {"level": "plain", "keeper": 0, "keeper_started": 0, "marker": "none"}
    yield [
        keeper | {"pid": process.pid, "started": proctable.started(process.pid)}
        for process in processes
    ]
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def shown() -> Iterator[Deadlines]:
    made = Deadlines()
    yield made
    os.close(made.fd)


class Spare:
    """A belt in a thread, and the test in its guardian's place."""

    def __init__(self, shown: Deadlines, handles: dict[int, Message]) -> None:
        self.guardian, channel = pair()
        self.ended = threading.Event()
        self.belt = SpareBackstop(channel, shown.fd, handles, self.ended.set)
        self._channel: Channel = channel
        self._thread = threading.Thread(target=self.belt.watch, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        self.guardian.send({"say": "anything"})
        self._thread.join(15)
        assert not self._thread.is_alive()
        self.belt.close()
        self.guardian.close()
        self._channel.close()


def test_what_is_late_is_late_a_little_after_its_deadline():
    seen = {1: 10.0, 2: 20.0, 3: math.inf}

    assert backstops.first_late_at(seen) == 10.0 + backstops.BACKSTOP_S
    assert backstops.late(seen, 10.0) == set()
    assert backstops.late(seen, 10.0 + backstops.BACKSTOP_S) == {1}
    assert backstops.late(seen, 1e9) == {1, 2}
    assert backstops.first_late_at({}) == math.inf


def test_spare_kills_what_is_late_and_nothing_else(shown: Deadlines, sleepers: list[Message]):
    shown.put(1, now() + 0.1)
    shown.put(2, now() + FAR_S)
    spare = Spare(shown, dict(enumerate(sleepers, 1)))

    await_death(sleepers[0])
    spare.leave()

    assert spare.belt.killed == 1
    assert lives(sleepers[1])


def test_spare_waits_as_long_as_the_deadline_moves(shown: Deadlines, sleepers: list[Message]):
    """Nobody tells it: it sees that the deadline has moved when the old one has come."""
    shown.put(1, now() + 0.2)
    spare = Spare(shown, {1: sleepers[0]})
    looked_at = now() + 0.2 + backstops.BACKSTOP_S
    shown.put(1, now() + FAR_S)
    shown.put(2, looked_at)  # which it does not know how to kill

    while now() < looked_at + backstops.BACKSTOP_S:
        threading.Event().wait(0.01)
    spare.leave()

    assert spare.belt.killed == 0
    assert lives(sleepers[0])


def test_spare_ends_a_guardian_that_does_not_notice(
    shown: Deadlines, sleepers: list[Message], monkeypatch: pytest.MonkeyPatch
):
    """It must not wake up later and start something."""
    monkeypatch.setattr(spare_watch, "UNNOTICED_MAX_S", 0.1)
    shown.put(1, now())
    spare = Spare(shown, {1: sleepers[0]})

    assert spare.ended.wait(15)

    spare.leave()
    assert spare.belt.killed == 1


def test_guardian_that_notices_is_left_alone(shown: Deadlines, sleepers: list[Message]):
    shown.put(1, now())
    spare = Spare(shown, {1: sleepers[0]})
    await_death(sleepers[0])
    spare.leave()

    spare.belt.hear(wire.RunOver(1))

    assert spare.belt._due() == math.inf
    assert not spare.ended.is_set()


def test_a_run_without_a_deadline_is_not_killed(shown: Deadlines, sleepers: list[Message]):
    """D8: a task that goes on through a partition."""
    shown.put(1, math.inf)
    spare = Spare(shown, {1: sleepers[0]})
    spare.leave()

    assert spare.belt.killed == 0


def test_deadlines_are_seen_as_the_guardian_wrote_them_last(shown: Deadlines):
    for run in range(1, RUNS_MAX + 1):
        shown.put(run, float(run))
    for run in range(1, RUNS_MAX, 2):
        shown.drop(run)
    shown.put(2, 99.0)
    shown.put(5000, 7.0)

    expected = {run: float(run) for run in range(2, RUNS_MAX + 1, 2)} | {2: 99.0, 5000: 7.0}
    assert deadlines.read(shown.fd) == expected
    assert deadlines.read(-1) == {}


# --- what an agent has inherited ------------------------------------------------------------------


def test_promoted_spare_kills_what_it_inherited_when_it_is_late(
    shown: Deadlines, sleepers: list[Message]
):
    """Rule G7: the guardian stands still right after it has promoted the spare."""
    line = Line(inherited=dict(enumerate(sleepers, 1)), deadlines_fd=shown.fd)
    shown.put(1, 100.5)
    shown.put(2, 200.0)

    assert line.link.tick(100.0)[0] <= 100.5 + backstops.BACKSTOP_S
    line.clock.moment = 100.5 + backstops.BACKSTOP_S
    line.heard(say="echo", n=1)
    line.link.tick(line.clock.moment)

    await_death(sleepers[0])
    assert lives(sleepers[1])


def test_promoted_spare_kills_all_that_it_inherited_when_the_guardian_dies(
    shown: Deadlines, sleepers: list[Message]
):
    line = Line(inherited=dict(enumerate(sleepers, 1)), deadlines_fd=shown.fd)
    line.far.close()
    list(line.link.events())

    told: list[object] = []
    while not any(isinstance(event, ProgramEnded) for event in told):
        told += line.link.tick(line.clock.now())[1]

    assert [e.run for e in told if isinstance(e, ProgramEnded)] == [INHERITED]
    for handle in sleepers:
        await_death(handle)


def test_what_was_inherited_and_is_gone_is_nobodys_to_kill(
    shown: Deadlines, sleepers: list[Message]
):
    line = Line(inherited={1: sleepers[0]}, deadlines_fd=shown.fd)
    shown.put(1, 100.5)
    line.heard(say="ended", run=0, status=-9, why="agent")

    line.clock.moment = 101.0
    line.heard(say="echo", n=1)
    line.link.tick(101.0)

    assert lives(sleepers[0])

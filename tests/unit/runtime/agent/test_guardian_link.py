"""The agent's end of the line: many runs, one message for a heartbeat, and the second belt."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from coordinator.errors import CommandNotExecutableError
from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.protocol.node.events import (
    ExtendTrust,
    KillProgram,
    ProgramEnded,
    ProgramRefused,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.state.guardian_watch import ping_s
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.node.state.run import INHERITED
from coordinator.protocol.rules.backstops import BACKSTOP_S
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.guardian_link import MESSAGES_PER_TURN, GuardLink, Orders
from coordinator.runtime.agent.left_behind import LeftBehind
from coordinator.runtime.linux import processes as proctable
from coordinator.runtime.linux.channel import Channel, pair

TIMING = Timing(liveness_s=30.0, heartbeat_s=1.0, stop_timeout_s=5.0)
NODE = Node(policy=Policy(node="n", group="g", seed="s"), timing=TIMING, session="s-1")
Message = dict[str, Any]
#: Nothing takes longer, also on a busy machine: each tick kills for a fifth of a second at most.
WAIT_MS = 15_000
TICKS_MAX = 75


class StillClock:
    """Shows what the test sets."""

    def __init__(self) -> None:
        self.moment = 100.0

    def now(self) -> float:
        return self.moment


class Line:
    """A link, and the test in the guardian's place."""

    def __init__(
        self, *, inherited: dict[int, Message] | None = None, deadlines_fd: int = -1
    ) -> None:
        here, self.far = pair()
        self.clock = StillClock()
        self.unreadable = False
        self.ordered: list[tuple[StartProgram, str]] = []
        self.started: list[tuple[str, int]] = []
        self.link = GuardLink(
            here,
            self.clock,
            TIMING,
            self.orders,
            lambda command, pid: self.started.append((command.task, pid)),
            inherited=None if inherited is None else LeftBehind(inherited, deadlines_fd),
            upkeep=lambda: None,
            guardian=0,
        )

    def orders(self, command: StartProgram, session: str) -> Orders:
        self.ordered.append((command, session))
        if self.unreadable:
            raise CommandNotExecutableError("its spec cannot be read")
        stop_timeout_s = 60.0 if command.task == "slow" else None
        return Orders(("true",), {}, (), None, stop_timeout_s=stop_timeout_s)

    def start(self, run: int, task: str = "", lease_s: float = 10.0) -> None:
        until = self.clock.now() + lease_s
        self.link.start(StartProgram(run, run + 70, until, task), NODE)

    def told(self, far: Channel | None = None) -> list[Message]:
        """Return what the guardian heard."""
        messages = []
        while received := (far or self.far).poll():
            assert received[0] is not None
            messages.append(received[0])
        return messages

    def heard(self, **message: object) -> list[object]:
        """Let the guardian say something; return the events of it."""
        assert self.far.send(message)
        return list(self.link.events())

    def runs_as(self, run: int, handle: Message) -> None:
        assert self.heard(say="started", run=run, pid=int(handle["pid"]), handle=handle) == []


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


def lives(handle: Message) -> bool:
    return proctable.lives(handle["pid"], handle["started"])


def await_death(handle: Message) -> None:
    """A busy machine takes its time to end what was killed."""
    pidfd = os.pidfd_open(handle["pid"])
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(WAIT_MS)
    os.close(pidfd)


# --- orders ---------------------------------------------------------------------------------------


def test_start_carries_the_task_and_the_stop_timeout_of_its_own():
    line = Line()

    line.start(1)
    line.start(2, "slow")
    starts = [message for message in line.told() if message["say"] == "start"]

    assert [(m["run"], m.get("task", ""), m["term"], m["stop_timeout_s"]) for m in starts] == [
        (1, "", 71, 5.0),
        (2, "slow", 72, 60.0),
    ]
    assert [(command.task, session) for command, session in line.ordered] == [
        ("", "s-1"),
        ("slow", "s-1"),
    ]


def test_stop_gives_each_run_the_grace_of_its_own():
    line = Line()
    line.start(1)
    line.start(2, "slow")

    line.link.stop(StopProgram(1, "test"))
    line.link.stop(StopProgram(2, "test"))

    stops = {m["run"]: m["grace_s"] for m in line.told() if m["say"] == "stop"}
    assert stops == {1: 5.0, 2: 60.0}


def test_heartbeat_of_a_hundred_runs_is_one_message():
    line = Line()
    for run in range(1, 101):
        line.start(run)
    line.told()

    line.link.extend(ExtendTrust(EVERY_RUN, 130.0))

    assert line.told() == [{"say": "extend", "run": EVERY_RUN, "trusted_until": 130.0}]


# --- what happened --------------------------------------------------------------------------------


def test_each_run_is_told_of_by_its_task_and_ends_by_its_number():
    line = Line()
    line.start(1, "a")
    line.start(2, "b")

    line.runs_as(2, {"level": "plain", "pid": 42})
    refused = line.heard(say="refused", run=1, why="not found", code=127)
    ended = line.heard(say="ended", run=2, status=0, why="itself")

    assert line.started == [("b", 42)]
    assert refused == [ProgramRefused(100.0, 1, "not found", 127)]
    assert ended == [ProgramEnded(100.0, 2, 0, "itself")]


def test_end_of_what_was_inherited_is_heard_beside_own_runs():
    line = Line(inherited={})
    line.start(1)

    own = line.heard(say="ended", run=1, status=0, why="itself")
    inherited = line.heard(say="ended", run=EVERY_RUN, status=-9, why="agent", at=98.5)
    again = line.heard(say="ended", run=EVERY_RUN, status=-9, why="agent")

    assert own == [ProgramEnded(100.0, 1, 0, "itself")]
    assert inherited == [ProgramEnded(100.0, INHERITED, -9, "agent", at=98.5)]
    assert again == []


def test_a_talkative_guardian_has_a_share_of_each_turn_and_all_is_heard():
    """A program's end stays in order, and so does the end of the guardian."""
    line = Line()
    line.start(1)
    line.told()
    said = 0
    while line.far.send({"say": "signal", "signum": int(signal.SIGUSR1)}, wait_s=0):
        said += 1
    turns = [len(list(line.link.events()))]
    line.far.send({"say": "ended", "run": 1, "status": 0, "why": "itself"})
    line.far.close()
    last: list[object] = []
    for _ in range(said):
        if heard := list(line.link.events()):
            turns.append(len(heard))
            last = heard

    assert said > MESSAGES_PER_TURN
    assert (max(turns), sum(turns)) == (MESSAGES_PER_TURN, said + 1)
    assert last[-1] == ProgramEnded(100.0, 1, 0, "itself")


# --- belts ----------------------------------------------------------------------------------------


def test_second_belt_kills_only_the_run_whose_own_deadline_passed(sleepers: list[Message]):
    """Rule G7."""
    line = Line()
    for run, handle in enumerate(sleepers, 1):
        line.start(run, lease_s=10.0 * run)
        line.runs_as(run, handle)

    line.clock.moment = 110.0 + BACKSTOP_S
    line.heard(say="echo", n=1)
    line.link.tick(line.clock.now())

    await_death(sleepers[0])
    assert lives(sleepers[1])


def test_one_extension_keeps_the_second_belt_from_all_but_the_stopped(sleepers: list[Message]):
    """Rule G7."""
    line = Line()
    for run, handle in enumerate(sleepers, 1):
        line.start(run)
        line.runs_as(run, handle)
    line.link.kill(KillProgram(1, "test"))

    line.link.extend(ExtendTrust(EVERY_RUN, 130.0))
    line.clock.moment = 110.0 + BACKSTOP_S
    line.heard(say="echo", n=1)
    line.link.tick(line.clock.now())

    await_death(sleepers[0])
    assert lives(sleepers[1])


def test_next_tick_is_due_at_the_first_deadline_of_all():
    line = Line()
    line.start(1, lease_s=0.01)
    line.start(2, lease_s=9.0)
    line.link.tick(line.clock.now())

    due_at, _ = line.link.tick(line.clock.now())

    assert due_at == pytest.approx(100.01 + BACKSTOP_S)


def test_dead_guardian_ends_every_run_and_asks_once_to_stop(sleepers: list[Message]):
    """Rule G7."""
    line = Line(inherited={})
    for run, handle in enumerate(sleepers, 1):
        line.start(run)
        line.runs_as(run, handle)
    line.far.close()
    assert list(line.link.events()) == []

    heard: list[object] = []
    due_at = 0.0
    for _ in range(TICKS_MAX):
        due_at, events = line.link.tick(line.clock.now())
        heard += events
        if due_at == float("inf"):
            break
    _, more = line.link.tick(line.clock.now())

    stop, *ended = heard
    assert stop == StopAsked(100.0, "the guardian died", 1)
    killed = -int(signal.SIGKILL)
    assert sorted(ended, key=lambda event: event.run) == [
        ProgramEnded(100.0, run, killed, "killed") for run in (INHERITED, 1, 2)
    ]
    assert (due_at, list(more)) == (float("inf"), [])
    assert [lives(handle) for handle in sleepers] == [False, False]


def test_a_program_without_orders_is_refused_and_never_started():
    """A task whose spec nobody can read stops itself alone, and no node."""
    line = Line()
    line.told()

    line.unreadable = True
    refused = line.link.start(StartProgram(1, 71, 110.0, "bad"), NODE)

    assert refused == ProgramRefused(100.0, 1, "its spec cannot be read", 126)
    assert line.told() == []


def pings(line: Line) -> int:
    return sum(message["say"] == "ping" for message in line.told())


def test_an_idle_link_pings_with_a_turn_that_happens_anyway():
    """Each wake of its own costs a process that does nothing more than the ping itself."""
    line = Line()
    wake_at, _ = line.link.tick(line.clock.now())
    assert pings(line) == 1
    line.heard(say="echo", n=1)

    line.clock.moment += TIMING.liveness_s / 4 - 0.1
    line.link.tick(line.clock.now())
    assert pings(line) == 0
    wake_at, _ = line.link.tick(line.clock.now())
    assert wake_at == 100.0 + TIMING.liveness_s * 3 / 8
    line.clock.moment += 0.1
    line.link.tick(line.clock.now())
    assert pings(line) == 1


def test_an_idle_link_wakes_by_itself_before_its_guardian_takes_it_for_hung():
    line = Line()
    line.link.tick(line.clock.now())
    line.heard(say="echo", n=1)
    line.told()

    wake_at, _ = line.link.tick(line.clock.now())
    assert wake_at < 100.0 + TIMING.liveness_s / 2
    line.clock.moment = wake_at
    line.link.tick(wake_at)
    assert pings(line) == 1


def test_a_link_with_a_program_wakes_for_each_ping():
    line = Line()
    line.link.tick(line.clock.now())
    line.heard(say="echo", n=1)
    line.start(1)
    line.told()

    wake_at, _ = line.link.tick(line.clock.now())

    assert pings(line) == 1
    assert wake_at <= 100.0 + ping_s(TIMING)

"""The guardian passes on, refuses, restarts and leaves nothing behind; real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.protocol.guardian.machine import SILENT_AT_TRUST_END_S
from coordinator.runtime.isolation import cgroup
from coordinator.runtime.isolation import levels as isolation
from coordinator.runtime.linux import processes
from tests.support.bounds import within
from tests.support.nodes.guarded_node import (
    LEASE_S,
    STOP_TIMEOUT_S,
    WAIT_S,
    GuardedNode,
    Voice,
    await_death,
    await_fact,
    now,
)
from tests.support.nodes.processes import eventually

pytestmark = pytest.mark.real

LEVELS = [level.name for level in isolation.available() if level.available]
each_level = pytest.mark.parametrize("level", LEVELS)
Start = Callable[..., GuardedNode]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    nodes: list[GuardedNode] = []

    def start(level: str = "auto", **settings: object) -> GuardedNode:
        node = GuardedNode(tmp_path / str(len(nodes)), level, **settings)
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.close()


def ended(agent: Voice) -> tuple[int, str]:
    message = agent.hear("ended")
    return message["status"], message["why"]


# --- the program ----------------------------------------------------------------------------------


@each_level
def test_exit_status_comes_back(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()

    node.start(agent, *node.argv("ends"), lease_s=60)

    assert agent.hear("started")["handle"]["level"] == level
    assert ended(agent) == (7, "itself")
    assert node.leave(agent, 7) == 7


@each_level
def test_death_by_signal_comes_back_as_a_negative_status(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    started = node.start_shape(agent, "sleeps", lease_s=60)

    os.kill(started["pid"], signal.SIGUSR1)

    assert ended(agent) == (-signal.SIGUSR1, "itself")


@each_level
def test_what_the_first_process_leaves_behind_ends_with_it(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()

    node.start(agent, *node.argv("leaves_child"), lease_s=60)
    node.await_members(2)

    assert ended(agent) == (7, "itself")
    assert node.survivors() == []


@each_level
def test_one_program_after_the_other(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()

    for _ in range(3):
        node.start(agent, *node.argv("ends"), lease_s=60)
        assert ended(agent) == (7, "itself")

    assert node.leave(agent) == 0


@each_level
@pytest.mark.parametrize(
    ("command", "code"),
    [("no-such-command-anywhere", 127), ("/no/such/file", 127), ("/etc/passwd", 126), ("/", 126)],
)
def test_program_that_cannot_be_executed_is_refused_as_a_shell_would(
    start: Start, level: str, command: str, code: int
):
    node = start(level)
    agent = node.meet_agent()

    node.start(agent, command, lease_s=60)

    refused = agent.hear("refused")
    assert refused["code"] == code
    assert command in refused["why"]
    assert "started" not in agent.heard_so_far()
    assert node.leave(agent, code) == code


def test_missing_working_directory_is_named(start: Start):
    node = start()
    agent = node.meet_agent()

    node.start(agent, "true", lease_s=60)
    agent.hear("ended")
    node.runs += 1
    order = {"term": 1, "argv": ["true"], "env": {}, "unset": [], "stop_timeout_s": 1}
    agent.tell(say="start", run=2, cwd="/no/such/place", trusted_until=now() + 60, **order)

    assert agent.hear("refused")["why"].startswith("cannot go to /no/such/place")


def test_nothing_starts_when_trust_is_over(start: Start):
    node = start()
    agent = node.meet_agent()

    node.start(agent, *node.argv("sleeps"), lease_s=-0.001)

    assert agent.hear("refused")["code"] == 0
    assert node.survivors() == []


@each_level
def test_stop_lets_the_program_end_by_itself(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    node.start_shape(agent, "sleeps", lease_s=60)

    agent.tell(say="stop", run=1, grace_s=30, reason="test")

    assert ended(agent) == (-signal.SIGTERM, "stopped")


def test_program_that_takes_its_time_has_its_time(start: Start, tmp_path: Path):
    node = start()
    agent = node.meet_agent()
    ready, done = tmp_path / "ready", tmp_path / "done"
    os.mkfifo(ready)
    on_term = f"trap 'sleep 0.1; echo 1 > {done}; exit 3' TERM"
    line = f"{on_term}; echo > {ready}; while :; do sleep 0.01; done"
    node.start(agent, "sh", "-c", line, lease_s=60)
    ready.read_text()

    agent.tell(say="stop", run=1, grace_s=30, reason="test")

    assert ended(agent) == (3, "stopped")
    assert done.exists()


def test_trust_that_runs_out_is_announced_before_it_kills(start: Start):
    node = start()
    agent = node.meet_agent()

    asked_at = now()
    node.start(agent, *node.argv("ignores_term"), lease_s=1.0)
    node.await_members(1)
    agent.hear("stopping")
    stopping_at = now()
    status, why = ended(agent)
    ended_at = now()

    assert (status, why) == (-signal.SIGKILL, "trust")
    assert stopping_at - asked_at >= 1.0 - STOP_TIMEOUT_S - 0.001
    assert ended_at - asked_at >= 1.0 - 0.01


def test_extended_trust_keeps_the_program(start: Start):
    node = start()
    agent = node.meet_agent()
    node.start_shape(agent, "sleeps", lease_s=0.4)

    agent.order(barrier=True)
    agent.hear("passed")
    beyond = now() + 2 * LEASE_S
    await_fact(lambda: now() > beyond, "time stands still")

    assert node.survivors() == list(node.members)
    agent.order(keep=None)
    assert ended(agent)[1] == "trust"


def test_program_gets_a_clean_place_and_a_trust_board(start: Start):
    node = start()
    agent = node.meet_agent()

    asked_at = now()
    node.start(agent, *node.argv("shows"), lease_s=60)
    shown = json.loads(node.await_word())

    assert shown["leads"]
    assert shown["term_default"]
    assert not shown["pipe_blocked"]
    assert shown["fds"] == [0, 1, 2, shown["board_fd"]]
    assert not shown["writable"]
    assert shown["board"][0] == pytest.approx(asked_at + 60, abs=1)
    assert shown["env"]["COORD_TEST_CASE"] == node.case
    assert len(shown["env"]["COORD_RUN_ID"]) == 24


@each_level
def test_a_program_gets_the_signals_that_it_asks_for_and_no_others(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    forward = [signal.SIGHUP, signal.SIGUSR2]
    node.start_shape(agent, "reports_signals", lease_s=60, forward=forward)

    node.guardian.send_signal(signal.SIGUSR1)
    assert agent.hear("signal")["signum"] == signal.SIGUSR1
    for name in ("SIGHUP", "SIGUSR2", "SIGWINCH"):
        node.guardian.send_signal(signal.Signals[name])
        assert node.await_word() == name
    assert agent.hear("signal")["signum"] == signal.SIGHUP


# --- leaving --------------------------------------------------------------------------------------


def test_term_is_told_to_the_agent_and_leaves_the_program_alone(start: Start):
    node = start()
    agent = node.meet_agent()
    node.start_shape(agent, "sleeps", lease_s=60)

    node.guardian.send_signal(signal.SIGTERM)

    told = agent.hear("signal")
    assert (told["signum"], told.get("nth", 1)) == (signal.SIGTERM, 1)
    assert node.survivors() == list(node.members)


def test_second_interrupt_kills_and_leaves_within_a_second(start: Start):
    node = start()
    agent = node.meet_agent()
    node.start_shape(agent, "ignores_term", lease_s=60)

    node.guardian.send_signal(signal.SIGINT)
    agent.hear("signal")
    node.guardian.send_signal(signal.SIGINT)
    sent_at = now()

    assert ended(agent)[1] == "killed"
    assert node.guardian.wait(15) == 130
    within(now() - sent_at, 1.0 + 1.0)
    await_death(agent)


@pytest.mark.parametrize("code", [0, 75])
def test_agent_that_ends_in_order_is_not_taken_for_dead(start: Start, code: int):
    """Rule G11: also when the guardian is late, and the agent has left an echo unread."""
    node = start()
    agent = node.meet_agent()
    agent.order(leave_unread=code)
    agent.hear("unread")

    node.guardian.send_signal(signal.SIGSTOP)
    agent.order(now=True)
    await_death(agent)
    node.guardian.send_signal(signal.SIGCONT)

    assert node.guardian.wait(15) == code
    assert node.stderr() == ""


def test_exit_with_the_program_still_running_ends_the_program(start: Start):
    node = start()
    agent = node.meet_agent()
    node.start_shape(agent, "ignores_term", lease_s=60)

    assert node.leave(agent, 5) == 5
    node.await_deaths()


def test_quit_dumps_the_stacks_and_goes_on(start: Start):
    node = start()
    agent = node.meet_agent()
    agent.order(barrier=True)
    agent.hear("passed")

    node.guardian.send_signal(signal.SIGQUIT)

    eventually(lambda: "runtime/guardian/" in node.stderr(), WAIT_S, "the stacks are written")
    agent.order(barrier=True)
    agent.hear("passed")


# --- agents and spares ----------------------------------------------------------------------------


def test_session_is_handed_to_the_spare(start: Start):
    node = start()
    agent = node.meet_agent()
    agent.tell(say="session", session="s-1", term=7)
    agent.order(barrier=True)
    agent.hear("passed")

    os.kill(agent.pid, signal.SIGKILL)
    successor = node.meet_agent()

    assert successor.found["session"] == "s-1"
    assert successor.found["term"] == 7
    assert not successor.found["dying"]
    assert node.leave(successor) == 0


def test_signal_that_came_between_two_agents_is_told_to_the_second(start: Start):
    node = start()
    agent = node.meet_agent()
    agent.order(barrier=True)
    agent.hear("passed")
    os.kill(agent.pid, signal.SIGKILL)
    node.guardian.send_signal(signal.SIGTERM)

    assert node.meet_agent().hear("signal")["signum"] == signal.SIGTERM


def test_without_a_spare_a_fresh_agent_learns_of_its_predecessor(start: Start):
    node = start(no_spare=True)
    agent = node.meet_agent()
    agent.tell(say="session", session="s-1", term=7)
    agent.order(barrier=True)
    agent.hear("passed")

    os.kill(agent.pid, signal.SIGKILL)
    successor = node.meet_agent()

    assert successor.argv[-4:] == ["--previous-session", "s-1", "--previous-term", "7"]
    assert successor.hear("ended")["run"] == 0
    assert node.leave(successor) == 0


def test_agents_that_keep_dying_end_the_node(start: Start):
    node = start(crash=True)

    assert node.guardian.wait(30) == 1
    assert "6 times within a minute" in node.stderr()


def test_dead_spare_is_replaced(start: Start):
    node = start()
    agent = node.meet_agent()
    spare = node.meet("spare")

    os.kill(spare.pid, signal.SIGKILL)
    fresh = node.meet("spare")
    os.kill(agent.pid, signal.SIGKILL)
    successor = node.meet_agent()

    assert fresh.argv[-1] == "--as-spare"
    assert successor.pid == fresh.pid
    assert node.leave(successor) == 0


def test_frozen_spare_that_became_the_agent_is_killed_as_silent(start: Start):
    node = start()
    agent = node.meet_agent(silence_max_s=0.3)
    spare = node.meet("spare")
    agent.order(barrier=True)
    agent.hear("passed")

    os.kill(spare.pid, signal.SIGSTOP)
    os.kill(agent.pid, signal.SIGKILL)
    await_death(spare)

    assert node.leave(node.meet_agent()) == 0


def test_hung_agent_is_killed_when_trust_runs_out(start: Start):
    node = start()
    agent = node.meet_agent(silence_max_s=60)
    node.start(agent, *node.argv("ignores_term"), lease_s=5.0)  # longer than any start takes
    node.await_members(1)
    until = now() + 2 * SILENT_AT_TRUST_END_S
    agent.tell(say="extend", run=node.runs, trusted_until=until)
    agent.order(barrier=True)
    agent.hear("passed")

    os.kill(agent.pid, signal.SIGSTOP)
    await_death(agent)

    node.await_deaths()
    assert node.leave(node.meet_agent()) == 0


def test_nothing_is_left_when_the_node_has_left(start: Start):
    node = start()
    agent, spare = node.meet_agent(), node.meet("spare")
    node.start_shape(agent, "escapee", lease_s=60)
    agent.tell(say="stop", run=1, grace_s=0, reason="test")
    agent.hear("ended")

    assert node.leave(agent) == 0
    await_death(agent)
    await_death(spare)
    node.await_deaths()


@pytest.mark.skipif("cgroup" not in LEVELS, reason="no cgroup can be made here")
def test_next_guardian_cleans_up_after_a_dead_node(start: Start):
    node = start("cgroup")
    agent = node.meet_agent()
    spare = node.meet("spare")
    started = node.start_shape(agent, "escapee", lease_s=60)
    for pid in (spare.pid, agent.pid, node.guardian.pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (spare.pid, agent.pid, node.guardian.pid):
        os.kill(pid, signal.SIGKILL)
    node.guardian.wait(15)

    other = start("cgroup")
    other.leave(other.meet_agent())

    node.await_deaths()
    assert node.survivors() == []
    assert not os.path.exists(started["handle"]["path"])


# --- isolation ------------------------------------------------------------------------------------


@each_level
def test_kill_by_handle_is_true_again_and_again(start: Start, level: str):
    node = start(level)
    agent = node.meet_agent()
    handle = node.start_shape(agent, "escapee", lease_s=60)["handle"]

    assert isolation.kill_everything(handle)
    assert node.survivors() == []
    assert isolation.kill_everything(handle)
    assert ended(agent)[0] == -signal.SIGKILL


def test_level_that_does_not_exist_is_refused_with_code_78():
    command = [sys.executable, "-m", "coordinator.runtime.guardian", "--settings-fd", "0"]

    done = subprocess.run(
        [*command, "--isolation", "moat", "--", "true"], capture_output=True, text=True, timeout=15
    )

    assert done.returncode == 78
    assert done.stderr.endswith("coord: isolation 'moat': must be auto, cgroup, pidns, plain\n")


def test_auto_takes_the_strongest_level_there_is():
    assert isolation.choose("auto") == LEVELS[0]
    assert LEVELS[-1] == "plain"


@pytest.mark.skipif("cgroup" not in LEVELS, reason="no cgroup can be made here")
def test_probing_leaves_no_cgroup():
    assert cgroup.unavailable() == ""

    ours = f"coord-probe-{os.getpid()}-"
    assert not [n for n in os.listdir(cgroup.home()) if n.startswith(ours)]


def test_guardian_stays_small(start: Start):
    node = start()
    agent = node.meet_agent()
    node.start(agent, *node.argv("ends"), lease_s=60)
    agent.hear("ended")

    status = Path(f"/proc/{node.guardian.pid}/status").read_text()

    resident_kib = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kib < 16 * 1024
    assert processes.lives(node.guardian.pid, processes.started(node.guardian.pid))

"""Rules G4 and L1: a run has ended when every source says so; survivors are named."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.runtime.isolation import cgroup, traces
from coordinator.runtime.isolation import levels as isolation
from coordinator.runtime.linux import processes
from coordinator.runtime.linux.processes import ProcessSnapshot
from tests.support.nodes import programs
from tests.support.nodes.guarded_node import GuardedNode, await_fact

pytestmark = pytest.mark.real

LEVELS = [level.name for level in isolation.available() if level.available]
each_level = pytest.mark.parametrize("level", LEVELS)
#: Root without the right to kill others: what an ordinary user is to `su` and `sudo`.
WITHOUT_KILL = ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill")

Start = Callable[..., GuardedNode]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    nodes: list[GuardedNode] = []

    def start(level: str, **more: object) -> GuardedNode:
        node = GuardedNode(tmp_path / str(len(nodes)), level, **more)  # type: ignore[arg-type]
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.close()


@pytest.fixture
def outsider() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a process that has the mark of a run and nothing else in common with it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(marker: str) -> subprocess.Popen[bytes]:
        env = os.environ | {traces.VARIABLE: marker}
        started.append(
            subprocess.Popen(["sleep", "600"], env=env, start_new_session=True, process_group=None)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@each_level
def test_a_run_has_not_ended_while_its_mark_lives_outside_of_it(
    start: Start, outsider: Callable[[str], subprocess.Popen[bytes]], level: str
):
    """Like a process that a daemon started: in no cgroup, tree or session of ours."""
    node = start(level)
    agent = node.meet_agent()
    handle = node.start_shape(agent, "sleeps")["handle"]
    stranger = outsider(handle["marker"])
    await_fact(lambda: _marked(handle) >= {stranger.pid}, "the outsider carries the mark")

    agent.tell(say="stop", run=node.runs, grace_s=0.1, reason="test")

    agent.hear("ended")
    assert stranger.poll() == -signal.SIGKILL
    node.leave(agent)


@each_level
def test_each_belt_catches_what_the_others_let_go(
    start: Start, outsider: Callable[[str], subprocess.Popen[bytes]], level: str
):
    node = start(level)
    agent = node.meet_agent()
    handle = node.start_shape(agent, "leaves_cgroup")["handle"]
    stranger = outsider(handle["marker"])
    await_fact(lambda: _marked(handle) >= {stranger.pid}, "the outsider carries the mark")
    first = handle["pid"]
    (left,) = node.members.keys() - {first}

    related = traces.traced(handle).related(ProcessSnapshot()).keys()

    assert {first, left} <= related
    assert stranger.pid not in related
    if level == "cgroup":
        inside = set((Path(handle["path"]) / "cgroup.procs").read_text().split())
        assert str(first) in inside
        assert not inside & {str(left), str(stranger.pid)}
    agent.tell(say="kill", run=node.runs)
    agent.hear("ended")
    node.await_deaths()
    assert stranger.poll() == -signal.SIGKILL


def _marked(handle: dict[str, object]) -> set[int]:
    return set(traces.traced(handle).marked(ProcessSnapshot()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_what_cannot_be_killed_is_named_at_once_and_keeps_the_run_from_ending(start: Start):
    node = start("plain", through=WITHOUT_KILL)
    agent = node.meet_agent()
    node.start_shape(agent, "becomes_another_user")
    others = lambda: [p for p in node.members if _user_of(p) == programs.NOBODY]  # noqa: E731
    await_fact(lambda: bool(others()), "a process has become another user")
    (survivor,) = others()

    agent.tell(say="kill", run=node.runs)
    said = ""
    while f"process {survivor} (" not in said:
        said += node.await_stderr()

    assert "cannot be killed" in said
    assert f"kill -9 {survivor}" in said
    assert "ended" not in agent.heard_so_far()
    os.kill(survivor, signal.SIGKILL)
    agent.hear("ended")
    assert said.count(f"process {survivor} (") == 1
    node.leave(agent)


def _user_of(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
def test_a_set_uid_program_that_could_not_be_killed_is_refused(start: Start, tmp_path: Path):
    node = start("plain", through=WITHOUT_KILL)
    agent = node.meet_agent()
    program = tmp_path / "as-another"
    shutil.copy("/bin/true", program)
    os.chown(program, programs.NOBODY, -1)
    program.chmod(0o4755)

    node.start(agent, str(program))
    refused = agent.hear("refused", "started")

    assert refused["say"] == "refused"
    assert refused["code"] == 126
    assert "set-uid" in refused["why"]
    node.leave(agent)


@pytest.mark.skipif("cgroup" not in LEVELS, reason="no cgroup can be made here")
def test_the_next_guardian_kills_what_left_the_cgroup_of_a_dead_one(
    start: Start, outsider: Callable[[str], subprocess.Popen[bytes]]
):
    node = start("cgroup")
    agent = node.meet_agent()
    spare = node.meet("spare")
    handle = node.start_shape(agent, "sleeps")["handle"]
    stranger = outsider(handle["marker"])
    await_fact(lambda: _marked(handle) >= {stranger.pid}, "the outsider carries the mark")
    for pid in (spare.pid, agent.pid, node.guardian.pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (spare.pid, agent.pid, node.guardian.pid):
        os.kill(pid, signal.SIGKILL)
    node.guardian.wait()

    cgroup.clean_leftovers()

    assert stranger.wait(15) == -signal.SIGKILL
    assert not Path(handle["path"]).exists()


def test_a_group_is_not_signalled_whose_number_was_given_to_another():
    """A process that leads a group of the number of a dead program, as after its reuse."""
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        seen = processes.look(other.pid)
        assert seen is not None
        former = seen._replace(started=seen.started - 1)

        refused = traces.kill({other.pid: former}, keeper=0)

        trace = traces.Trace("none", pid=other.pid, started=former.started)
        assert not refused
        assert trace.related(ProcessSnapshot()) == {}
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()

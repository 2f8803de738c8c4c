"""Rule G4: only "no such process" and "no such cgroup" mean that nothing is left of a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.runtime.isolation import cgroup, plain, traces
from coordinator.runtime.isolation.plain import PlainContainer
from coordinator.runtime.linux import marks, processes
from coordinator.runtime.linux.processes import ProcessSnapshot
from tests.support.nodes.guarded_node import WAIT_S, await_fact

#: A process that has no descriptor to spare; what it finds out it says at the end.
_WITHOUT_DESCRIPTORS = """
import os, resource
from coordinator.runtime.isolation import plain, traces
from coordinator.runtime.isolation.plain import PlainContainer
from coordinator.runtime.linux import processes
from coordinator.runtime.linux.processes import ProcessSnapshot

parent, started = os.getppid(), processes.started(os.getppid())
room = PlainContainer("nothing-carries-this")
handle = {"level": "plain", "keeper": 0, "keeper_started": 0, "pid": 0, "started": 0}
handle["marker"] = "nothing-carries-this"
assert room.empty(False, ProcessSnapshot())
assert plain.kill_by_handle(handle, ProcessSnapshot(), traces.Chaser())
usual = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
seen = processes.look(parent)
told = [seen is not None and seen.unknown and seen.alive]
told += [processes.lives(parent, started), ProcessSnapshot().blind]
told += [room.empty(False, ProcessSnapshot())]
told += [plain.kill_by_handle(handle, ProcessSnapshot(), traces.Chaser())]
resource.setrlimit(resource.RLIMIT_NOFILE, usual)
assert not ProcessSnapshot().blind
print(*told)
"""


#: Deliberately broken: what cannot be read is taken for gone.
_PLANTED = {
    "an error is an answer": "ProcessSnapshot.blind = property(lambda _: False)",
    "who cannot be read is dead": "processes.look = lambda pid: None",
    "who cannot be read is another": "processes.Seen.unknown = property(lambda _: False)",
}


def without_descriptors(planted: str = "") -> subprocess.CompletedProcess[str]:
    begin, rest = _WITHOUT_DESCRIPTORS.split("usual = ", 1)
    command = [sys.executable, "-c", f"{begin}{planted}\nusual = {rest}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_processes_that_cannot_be_read_now_are_not_gone():
    ended = without_descriptors()

    assert ended.stdout == "True True True False False\n", ended.stderr


@pytest.mark.parametrize("planted", _PLANTED)
def test_a_planted_belief_that_unknown_is_gone_is_caught(planted: str):
    ended = without_descriptors(_PLANTED[planted])

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout != "True True True False False\n"


def test_a_process_that_does_not_exist_is_gone():
    process = subprocess.Popen(["sleep", "600"])
    started = processes.started(process.pid)
    process.kill()
    process.wait()

    assert processes.look(process.pid) is None
    assert not processes.lives(process.pid, started)


def test_a_cgroup_of_which_nothing_can_be_read_may_have_processes(tmp_path: Path):
    read_fd, write_fd = os.pipe()
    try:
        assert cgroup._populated(read_fd), "a pipe has no offsets: ESPIPE"
    finally:
        os.close(read_fd)
        os.close(write_fd)
    (tmp_path / "file").touch()

    assert cgroup._kill_inside(str(tmp_path / "file")), "ENOTDIR"
    assert not cgroup._kill_inside(str(tmp_path / "removed")), "ENOENT"


def test_a_trace_without_a_keeper_is_related_to_nobody():
    """Process 0 is the parent of process 1, and so everybody is below it."""
    look = ProcessSnapshot()
    look._seen()[0] = processes.Seen(0, "S", 0, 0, 0, 0)

    assert traces.Trace("none").related(look) == {}


def test_no_trace_leads_to_process_1_to_this_process_or_to_those_above_it():
    """Neither a handle nor a mark leads there."""
    look = ProcessSnapshot()
    parent = look.of(os.getppid())
    assert parent is not None
    session = os.getsid(0)
    leader = look.of(session)
    above = {1, os.getpid(), os.getppid()}

    traced = [
        traces.Trace("none", keeper=1, keeper_started=processes.started(1)),
        traces.Trace("none", keeper=parent.pid, keeper_started=parent.started),
        traces.Trace("none", pid=session, started=leader.started if leader else 0),
        traces.Trace("none", pid=0),
        traces.Trace("none", pid=1, started=processes.started(1)),
    ]

    for trace in traced:
        assert not trace.related(look, uncollected=True).keys() & above, trace
    assert traces.Trace("none", keeper=1).related(look, uncollected=True) == {}
    assert traces.Trace("").marked(look) == {}


def test_a_kill_that_finds_somebody_new_has_grown():
    room, grew = PlainContainer("carried-by-two"), []
    env = os.environ | {traces.VARIABLE: "carried-by-two"}
    sleepers = []

    def killed(*, more: bool) -> bool:
        if more:
            sleepers.append(subprocess.Popen(["sleep", "600"], env=env, start_new_session=True))
            name, value = traces.VARIABLE.encode(), b"carried-by-two"
            await_fact(lambda: bool(ProcessSnapshot().carrying(name, value)), "it is executed")
        room.kill(False, ProcessSnapshot(), thorough=True)
        return room.grew

    grew = [killed(more=True), killed(more=False), killed(more=True), killed(more=False)]

    assert [sleeper.wait(WAIT_S) for sleeper in sleepers] == [-signal.SIGKILL] * 2
    assert grew == [False, False, True, False]


def test_a_process_whose_environment_cannot_be_read_now_may_carry_a_mark(tmp_path: Path):
    """Rule G4: neither an error that passes nor a missing descriptor is an answer."""
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "environ").write_bytes(b"RUN=x\0")
    code = (
        "import resource, sys; from coordinator.runtime.linux import marks;"
        "usual = resource.getrlimit(resource.RLIMIT_NOFILE);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]));"
        "print(marks.values_of(b'RUN', [5, 6], sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.stdout == "{5: None, 6: None}\n", ended.stderr
    assert marks.values_of(b"RUN", [5, 6], str(tmp_path)) == {5: b"x"}


def test_the_mark_of_a_run_names_the_runs_around_it():
    assert marks.links(marks.chained("", "a1").encode()) == [b"a1"]
    assert marks.links(marks.chained("a1", "b2").encode()) == [b"a1", b"b2"]
    assert marks.links(marks.chained("a1/b2", "c3").encode()) == [b"a1", b"b2", b"c3"]
    for foreign in ("no mark", "a\nb", "/", "a=b", "a" * 5000):
        assert marks.chained(foreign, "c3") == "c3"


def test_where_proc_shows_its_processes_plain_can_be_had():
    before = set(os.listdir("/proc/self/fd"))

    assert plain.unavailable() == ""
    assert set(os.listdir("/proc/self/fd")) == before

"""Rule G4: only "no such process" and "no such cgroup" mean that nothing is left of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.errors import ConfigError
from coordinator.runtime import isolation, isolation_cgroup, isolation_plain, proctable, traces
from coordinator.runtime.isolation_plain import PlainRoom
from coordinator.runtime.proctable import Look

#: A process that has no descriptor to spare; what it finds out it says at the end.
_WITHOUT_DESCRIPTORS = """
import os, resource
from coordinator.runtime import isolation_plain, proctable
from coordinator.runtime.isolation_plain import PlainRoom
from coordinator.runtime.proctable import Look

parent, started = os.getppid(), proctable.started(os.getppid())
room = PlainRoom("nothing-carries-this")
handle = {"level": "plain", "keeper": 0, "keeper_started": 0, "pid": 0, "started": 0}
handle["marker"] = "nothing-carries-this"
assert room.empty(False, Look())
assert isolation_plain.strike(handle, Look())
usual = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
seen = proctable.look(parent)
told = [seen.unknown and seen.alive, proctable.lives(parent, started), Look().blind]
told += [room.empty(False, Look()), isolation_plain.strike(handle, Look())]
resource.setrlimit(resource.RLIMIT_NOFILE, usual)
assert not Look().blind
print(*told)
"""


def test_processes_that_cannot_be_read_now_are_not_gone():
    command = [sys.executable, "-c", _WITHOUT_DESCRIPTORS]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.stdout == "True True True False False\n", ended.stderr


def test_a_process_that_does_not_exist_is_gone():
    process = subprocess.Popen(["sleep", "600"])
    started = proctable.started(process.pid)
    process.kill()
    process.wait()

    assert proctable.look(process.pid) is None
    assert not proctable.lives(process.pid, started)


def test_a_cgroup_of_which_nothing_can_be_read_may_have_processes(tmp_path: Path):
    read_fd, write_fd = os.pipe()
    try:
        assert isolation_cgroup._populated(read_fd), "a pipe has no offsets: ESPIPE"
    finally:
        os.close(read_fd)
        os.close(write_fd)
    (tmp_path / "file").touch()

    assert isolation_cgroup._struck(str(tmp_path / "file")), "ENOTDIR"
    assert not isolation_cgroup._struck(str(tmp_path / "removed")), "ENOENT"


def test_a_trace_without_a_keeper_is_related_to_nobody():
    """Process 0 is the parent of process 1, and so everybody is below it."""
    look = Look()
    look._seen()[0] = proctable.Seen(0, "S", 0, 0, 0, 0)

    assert traces.Trace("none").related(look) == {}


def test_a_kill_that_finds_somebody_new_has_grown(monkeypatch: pytest.MonkeyPatch):
    found: dict[int, proctable.Seen] = {}
    monkeypatch.setattr(traces.Trace, "related", lambda *_: dict(found))
    monkeypatch.setattr(traces, "kill", lambda *_: ())
    room, look, grew = PlainRoom("nothing-carries-this"), Look(), []
    for pid, started in ((5001, 1), (5001, 1), (5002, 1), (5002, 1), (5002, 2)):
        found = {pid: proctable.Seen(pid, "S", 1, pid, pid, started)}
        room.kill(False, look, thorough=False)
        grew.append(room.grew)

    assert grew == [False, False, True, False, True]


def test_without_a_level_that_can_be_had_auto_is_refused(monkeypatch: pytest.MonkeyPatch):
    for level in (isolation_cgroup, isolation.isolation_pidns, isolation_plain):
        monkeypatch.setattr(level, "unavailable", lambda: "/proc hides the node's own processes")

    with pytest.raises(ConfigError, match="no level can be had here: /proc hides"):
        isolation.choose("auto")
    assert isolation.ConfigError.exit_code == 78


def test_where_proc_shows_its_processes_plain_can_be_had():
    before = set(os.listdir("/proc/self/fd"))

    assert isolation_plain.unavailable() == ""
    assert set(os.listdir("/proc/self/fd")) == before

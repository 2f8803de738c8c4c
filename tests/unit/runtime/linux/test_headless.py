"""A process whose main thread has ended runs on: the kernel shows it as a zombie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coordinator.runtime.isolation.levels import kill_all
from coordinator.runtime.isolation.traces import Trace
from coordinator.runtime.linux import marks, processes

WITHIN_S = 30

#: Its second thread says that the main one has ended, and stays.
HEADLESS = """
import ctypes, os, threading
def stay():
    while "\\nState:\\tZ" not in open(f"/proc/{os.getpid()}/status").read():
        threading.Event().wait(0.01)
    os.write(1, b"headless\\n")
    threading.Event().wait()
threading.Thread(target=stay).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def headless() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HEADLESS]
    environ = os.environ | {"COORD_HEADLESS": "yes"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environ, start_new_session=True
    ) as process:
        assert process.stdout is not None
        yield process
        process.kill()


def test_a_process_without_its_main_thread_lives(headless):
    assert headless.stdout.readline() == b"headless\n"

    seen = processes.look(headless.pid)

    assert seen is not None
    assert seen.alive
    assert processes.lives(headless.pid, seen.started)
    assert processes.carries(headless.pid, b"COORD_HEADLESS=yes")
    assert marks.values_of(b"COORD_HEADLESS", [headless.pid]) == {headless.pid: b"yes"}
    headless.kill()
    headless.wait()
    assert not processes.lives(headless.pid, seen.started)


@pytest.mark.parametrize("level", ["plain", "cgroup"])
def test_a_program_without_its_main_thread_is_killed_by_its_handle(headless, level: str):
    """Rule G4: also where it has left the cgroup, which is gone."""
    assert headless.stdout.readline() == b"headless\n"
    trace = Trace("0" * 8, keeper=0, pid=headless.pid, started=processes.started(headless.pid))

    kill_all({1: trace.told() | {"level": level, "path": "/sys/fs/cgroup/gone"}})

    assert headless.wait(WITHIN_S) == -signal.SIGKILL


def test_a_zombie_does_not():
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seen = processes.look(process.pid)

    assert seen is not None
    assert not seen.alive

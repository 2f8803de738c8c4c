"""Processes that a killed test run leaves behind are ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
WITHIN_MS = 60_000
#: Starts what nobody ends, in a session of its own, from a process that is watched over.
SCRIPT = """
import subprocess, sys
from tests.support.afterwards import watch_over_this_process
watch_over_this_process()
print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_test_run_has_started_is_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        started = os.pidfd_open(int(run.stdout.readline()))
        ended = select.poll()
        ended.register(started, select.POLLIN)
        assert not ended.poll(0)

        run.send_signal(signal.SIGKILL)

        assert ended.poll(WITHIN_MS)
    os.close(started)

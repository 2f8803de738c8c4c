"""Ends the processes of a test run that was itself killed: nodes would run on for ever.

A process of its own watches the one that runs tests, and ends with it. Then it kills whatever
carries the mark in its environment, wherever that has gone: nodes have sessions of their own.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

#: In the environment of all that is started from a process that is watched over.
MARK = "TEST_RUN_OF_COORD"
#: One that dies may just have started another; what is left after these looks cannot be killed.
LOOKS_MAX = 200
LOOK_EVERY_S = 0.05
#: Looks in a row that have found nothing.
QUIET_LOOKS = 3


def watch_over_this_process() -> None:
    """Let nothing that is started from here on outlive this process."""
    pid = os.getpid()
    environment = {key: value for key, value in os.environ.items() if key != MARK}
    os.environ[MARK] = f"{pid}-{os.urandom(8).hex()}"
    subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(pid), os.environ[MARK]],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def main(pid: int, value: str) -> None:
    """Wait for the end of a process, and kill what it has left."""
    with suppress(ProcessLookupError):
        ended = os.pidfd_open(pid)
        if os.getppid() == pid:
            select.select([ended], [], [])
    pause = select.poll()
    quiet = 0
    for _ in range(LOOKS_MAX):
        left = marked(f"{MARK}={value}".encode())
        for each in left:
            with suppress(OSError):
                os.kill(each, signal.SIGKILL)
        quiet = 0 if left else quiet + 1
        if quiet == QUIET_LOOKS:
            return
        pause.poll(LOOK_EVERY_S * 1000)


def marked(mark: bytes) -> list[int]:
    """Return the processes whose environment has it."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):
            if mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                found.append(int(name))
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

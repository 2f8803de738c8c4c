"""Programs of every awkward shape: `python programs.py SHAPE SOCKET` announces each process.

Run by its path, without the package: it must start fast and survive a cleared environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Callable

#: Number of processes that announce themselves, by shape; a shape may have more.
SHAPES = {
    "ignores_term": 1,
    "forks": 5,
    "escapee": 2,
    "pipeline": 2,
    "blocked": 2,
    "swarm": 21,
    "leaves_cgroup": 2,
}
#: Not among the awkward ones.
PLAIN_SHAPES = {
    "ends": 1,
    "sleeps": 1,
    "leaves_child": 2,
    "reports_signals": 1,
    "shows": 1,
    "becomes_another_user": 2,
}
NOBODY = 65_534

_FOREVER_S = 600.0
_CLONE_VFORK = 0x4000
_CLONE_CALL = {"x86_64": 56, "aarch64": 220}


def say(text: str = "here") -> None:
    """Tell the test; the kernel adds who said it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.sendto(text.encode(), sys.argv[2])


def rest() -> None:
    while True:
        time.sleep(_FOREVER_S)


def fork(body: Callable[[], object]) -> None:
    if os.fork() == 0:
        try:
            body()
        finally:
            os._exit(0)


def sleeps() -> None:
    say()
    rest()


def ignores_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeps()


def forks() -> None:
    fork(lambda: (fork(ignores_term), sleeps()))
    for _ in range(2):
        fork(sleeps)
    sleeps()


def escapee() -> None:
    def escape() -> None:
        os.setsid()
        fork(ignores_term)

    fork(escape)
    sleeps()


def pipeline() -> None:
    me = f"{sys.executable} -S -E {sys.argv[0]}"
    line = f"{me} sleeps {sys.argv[2]} | cat | {me} ignores_term {sys.argv[2]}"
    os.execv("/bin/sh", ["sh", "-c", line])


def blocked() -> None:
    """Sleep in the kernel where no signal but SIGKILL is looked at."""
    say()
    call = _CLONE_CALL[platform.machine()]
    libc = ctypes.CDLL(None)
    if libc.syscall(call, _CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        sleeps()  # its parent cannot return before this ends


def leaves_cgroup() -> None:
    """Do what a login session of a service manager does to its first process."""

    def leave() -> None:
        with contextlib.suppress(OSError):  # there is no cgroup v2, or it is not ours
            with open("/proc/self/mountinfo") as mounts:
                mount = next(line.split()[4] for line in mounts if " - cgroup2 " in line)
            with open(f"{mount}/cgroup.procs", "w") as procs:
                procs.write("0")
        os.setsid()
        ignores_term()

    fork(leave)
    sleeps()


def becomes_another_user() -> None:
    """Do what `su` and `sudo` do to a command."""

    def become() -> None:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say()
        os.setuid(NOBODY)
        rest()

    fork(become)
    sleeps()


def swarm() -> None:
    """Twenty children, and a chain of processes of which each lives for a moment."""
    fork(comet)
    for _ in range(20):
        fork(ignores_term)
    sleeps()


def comet() -> None:
    until = time.monotonic() + 30  # should all killing fail, it ends by itself
    while time.monotonic() < until:
        time.sleep(0.003)
        if os.fork():
            os._exit(0)


def ends() -> None:
    say()
    sys.exit(7)


def leaves_child() -> None:
    there, here = os.pipe()

    def child() -> None:
        say()
        os.write(here, b"!")
        rest()

    fork(child)
    os.read(there, 1)  # the first to end has its group told to end
    say()
    sys.exit(7)


def reports_signals() -> None:
    signals = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    say()
    while True:
        say(signal.Signals(signal.sigwait(signals)).name)


def shows() -> None:
    """Tell what the program was given."""
    import json
    import struct

    board_fd = int(os.environ["COORD_TRUST_FD"])
    board = struct.unpack("@dd", os.pread(board_fd, 16, 0))
    writable = True
    try:
        os.pwrite(board_fd, b"x", 0)
    except OSError:
        writable = False
    say(
        json.dumps(
            {
                "env": {k: v for k, v in os.environ.items() if k.startswith("COORD_")},
                "fds": [fd for fd in range(256) if os.path.exists(f"/proc/self/fd/{fd}")],
                "board": board,
                "board_fd": board_fd,
                "writable": writable,
                "leads": os.getpid() == os.getsid(0) == os.getpgid(0),
                "term_default": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
                "pipe_blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()) != set(),
                "cwd": os.getcwd(),
            }
        )
    )
    rest()


if __name__ == "__main__":
    globals()[sys.argv[1]]()

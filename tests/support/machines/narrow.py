"""Narrow places for real nodes: another user, a /proc that hides, a limit of processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from coordinator.runtime.linux import processes
from tests.support.nodes.guarded_node import await_fact

#: A user of this test run alone, so that nobody else's processes count against its limits.
USER = 100_000 + os.getpid() % 50_000
#: It may read what only root may, for there the interpreter may lie; nothing else.
_AS_USER = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
#: Root without the right to look at others: what any user is to a process that cannot be dumped.
_BLIND_ROOT = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
_HIDDEN = (
    *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
    'mount -t proc -o hidepid=2,gid=64321 proc /proc && exec "$@"',
    "sh",
)
_SHOWN = (
    *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
    'mount -t proc proc /proc && exec "$@"',
    "sh",
)
#: Commands that run another one, by what that one is.
THROUGH = {
    "user": _AS_USER,
    "user, hidden": (*_HIDDEN, *_AS_USER),
    "user, still shown": (*_SHOWN, *_AS_USER),
    "root, hidden": (*_HIDDEN, *_BLIND_ROOT),
    "root, still shown": (*_SHOWN, *_BLIND_ROOT),
}


def can(how: str) -> bool:
    """Tell whether a command can be run so here."""
    if os.geteuid() != 0:
        return False
    command = [*THROUGH[how], sys.executable, "-S", "-c", "open('/proc/self/stat').read()"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def hide_processes(of: int) -> None:
    """Hide others' processes from now on in the mount namespace of that process."""
    _remount("hidepid=2,gid=64321", of)


def show_processes(of: int) -> None:
    """Show them again."""
    _remount("hidepid=0", of)


def _remount(options: str, of: int) -> None:
    remount = ["mount", "-o", f"remount,{options}", "/proc"]
    subprocess.run(["nsenter", "--target", str(of), "--mount", *remount], check=True)


def limit_to(what: str, most: int | None, of: int) -> None:
    """Set a soft limit (nofile, nproc) of a process of that user; None: as much as it may have."""
    names = {"nofile": "Max open files", "nproc": "Max processes"}
    lines = Path(f"/proc/{of}/limits").read_text().splitlines()
    hard = next(line.split()[-2] for line in lines if line.startswith(names[what]))
    soft = hard if most is None else str(most)
    command = ["prlimit", "--pid", str(of), f"--{what}={soft}:{hard}"]
    subprocess.run([*_AS_USER, *command], check=True)


@contextlib.contextmanager
def open_to_all() -> Iterator[None]:
    """Let whatever is made meanwhile be used by every user."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def of_user(user: int = USER) -> dict[int, processes.Seen]:
    """Return the living processes of a user."""
    found: dict[int, processes.Seen] = {}
    for pid, seen in processes.everyone().items():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if seen.alive and pid > 1 and os.stat(f"/proc/{pid}").st_uid == user:
                found[pid] = seen
    return found


def end_user(user: int = USER) -> None:
    """End whatever a user of this test run has left: stop all that may fork, then kill."""
    assert user >= 100_000

    def ended() -> bool:
        found = of_user(user)
        running = [seen.pid for seen in found.values() if seen.state != "T"]
        for pid in running or found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if running else signal.SIGKILL)
        return not found

    await_fact(ended, f"nothing of user {user} is left")


class ProcessLimit:
    """A cgroup that limits how many processes and threads there are in it."""

    def __init__(self, parent: Path) -> None:
        self._path = parent / f"coord-test-{os.urandom(6).hex()}"
        self._path.mkdir()

    def take_in(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (self._path / "cgroup.procs").write_text(str(pid))

    def set(self, most: int | None) -> None:
        (self._path / "pids.max").write_text("max" if most is None else str(most))

    def close(self) -> None:
        def removed() -> bool:
            with contextlib.suppress(OSError):
                self._path.rmdir()
            return not self._path.exists()

        await_fact(removed, f"{self._path} is empty")


def limiting_parent() -> Path | None:
    """Return a cgroup below which processes can be limited, if there is one."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        path = Path(before.split()[4])
        first = kind == "cgroup" and "pids" in options.split()[-1].split(",")
        control = path / "cgroup.subtree_control"
        second = kind == "cgroup2" and control.exists() and "pids" in control.read_text().split()
        if (first or second) and os.access(path, os.W_OK):
            return path
    return None

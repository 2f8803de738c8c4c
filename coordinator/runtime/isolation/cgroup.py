"""Level `cgroup`: the program runs in a cgroup of its own, and `cgroup.kill` ends all of it.

Forks, double forks and new sessions stay inside, and the kernel kills forks that race with the
kill. A process that changes its cgroup (root may, and so does a login session) is still found below
the keeper.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Callable
from typing import Any

from coordinator.runtime.isolation import plain, traces
from coordinator.runtime.isolation.plain import PlainContainer
from coordinator.runtime.isolation.traces import Chaser, Trace
from coordinator.runtime.linux import processes, spawn, syscalls
from coordinator.runtime.linux.processes import ProcessSnapshot, Seen

LEVEL = "cgroup"
PROMISE = "no process survives, whatever is killed or frozen"
#: The errors of a cgroup that no longer exists.
_REMOVED = (errno.ENOENT, errno.ENODEV)
_PREFIX = "coord-"
#: Deepest nesting that the clean-up follows; no real program nests deeper.
_DEPTH_MAX = 16
#: Attempts to remove an empty cgroup, and the seconds between two attempts.
_REMOVALS_MAX = 5
_REMOVE_AGAIN_S = 0.01


class CgroupContainer:
    """One cgroup for one run, and a keeper below which processes that left the cgroup are found."""

    def __init__(self, marker: str) -> None:
        own = os.getpid()
        name = f"{_PREFIX}{_pid_namespace()}-{own}-{processes.started_exactly(own)}"
        self._path = os.path.join(home(), f"{name}-{marker}")
        os.mkdir(self._path, 0o755)
        try:
            self._events_fd = os.open(os.path.join(self._path, "cgroup.events"), os.O_RDONLY)
        except OSError:
            os.rmdir(self._path)
            raise
        self._kept = PlainContainer(marker)

    @property
    def root(self) -> int:
        """The keeper, which is not in the cgroup."""
        return self._kept.root

    @property
    def status_fd(self) -> int | None:
        """Descriptor on which the keeper reports how the program ended."""
        return self._kept.status_fd

    def launch(self, body: Callable[[int], object]) -> None:
        """Fork the keeper; the program's process enters the cgroup by itself."""
        self._kept.launch(body)

    def enter(self) -> None:
        """Move the calling process into the cgroup."""
        _write(self._path, "cgroup.procs", b"0")

    def change_fd(self) -> int | None:
        """Return a descriptor that polls urgent when the cgroup becomes empty."""
        return self._events_fd

    def handle(self, pid: int) -> dict[str, Any]:
        """Return the handle by which any process can kill the run."""
        return self._kept.handle(pid) | {"level": LEVEL, "path": self._path}

    def kill(self, root_lives: bool, look: ProcessSnapshot, *, thorough: bool) -> tuple[Seen, ...]:
        """SIGKILL every process that is inside, has left, or has not entered yet."""
        with contextlib.suppress(OSError):
            _write(self._path, "cgroup.kill", b"1")
        return self._kept.kill(root_lives, look, thorough=thorough)

    def empty(self, root_lives: bool, look: ProcessSnapshot) -> bool:
        """Say whether nothing is left, inside or outside."""
        return not _populated(self._events_fd) and self._kept.empty(root_lives, look)

    @property
    def grew(self) -> bool:
        """True when the last kill found a new process."""
        return self._kept.grew

    def leads_group(self) -> bool:
        """Say whether the process group of the program's first process is still the run's own."""
        return self._kept.leads_group()

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._events_fd)
        self._kept.close()

    def clear(self) -> bool:
        """Remove the empty cgroup; false while the kernel reports it busy."""
        return _removed(self._path)


def build(marker: str) -> CgroupContainer:
    """Make the cgroup of one run; marker is unique to the run."""
    return CgroupContainer(marker)


def reach(*, others: bool) -> str:
    """Describe what this level can kill; a cgroup is killed whole, whichever users own it."""
    left = "" if others else " unless as another user (su, sudo)"
    return f"everything in the program's cgroup, and what left it{left}"


def kill_by_handle(handle: dict[str, Any], look: ProcessSnapshot, chase: Chaser) -> bool:
    """SIGKILL a run through its handle; true when nothing is left, inside or outside."""
    path = str(handle["path"])
    inside = _kill_inside(path)
    if not plain.kill_by_handle(handle, look, chase) or inside:
        return False
    _remove(path)
    return True


def _kill_inside(path: str) -> bool:
    """SIGKILL everything in a cgroup; say whether anything is left in it."""
    try:
        _write(path, "cgroup.kill", b"1")
        events_fd = os.open(os.path.join(path, "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        # It has been removed, which requires that it is empty; any other error tells nothing.
        return error.errno not in _REMOVED
    try:
        return _populated(events_fd)
    finally:
        os.close(events_fd)


def unavailable() -> str:
    """Try the level; return why it is not available here, or an empty text.

    Errors: OSError when it cannot be tried now, for lack of a process or a descriptor.
    """
    try:
        path = os.path.join(home(), f"{_PREFIX}probe-{os.getpid()}-{os.urandom(4).hex()}")
        os.mkdir(path, 0o755)
    except OSError as error:
        if error.errno in syscalls.NOT_NOW:
            raise
        return f"no cgroup can be made: {error}"
    try:
        if not os.path.exists(os.path.join(path, "cgroup.kill")):
            return "the kernel has no cgroup.kill (it needs Linux 5.14)"
        pid = spawn.fork_clean(lambda: _probe(path))  # ends with NOT_FOUND when it fails
        _, status = os.waitpid(pid, 0)
        if status != 0:
            return "a process cannot be moved into a cgroup"
        return plain.unavailable()
    finally:
        _remove(path)


def clean_leftovers() -> None:
    """Kill and remove what dead guardians left behind."""
    with contextlib.suppress(OSError):
        for name in os.listdir(home()):
            fields = name.removeprefix(_PREFIX).split("-")
            if not name.startswith(_PREFIX) or len(fields) != 4 or fields[0] != _pid_namespace():
                continue
            numbers = fields[1].isdigit() and fields[2].isdigit()
            if numbers and not processes.lives(int(fields[1]), int(fields[2])):
                path = os.path.join(home(), name)
                left = Trace(fields[3]).marked(ProcessSnapshot())
                traces.kill(left, keeper=0)
                with contextlib.suppress(OSError):
                    _write(path, "cgroup.kill", b"1")
                    events_fd = os.open(os.path.join(path, "cgroup.events"), os.O_RDONLY)
                    _wait_until_empty(events_fd)
                    os.close(events_fd)
                _remove(path)


def home() -> str:
    """Return the directory of this process's cgroup.

    Errors: OSError names what is missing.
    """
    mount, root = _mount()
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if line.startswith("0::"):
                own = line[3:].rstrip("\n")
                inside = os.path.relpath(own, root)
                if inside.startswith(".."):
                    raise OSError(f"our cgroup {own} is outside of what {mount} shows")
                return os.path.normpath(os.path.join(mount, inside))
    raise OSError("this process is in no cgroup v2")


def _mount() -> tuple[str, str]:
    """Find a cgroup v2 mount, also of a hybrid setup; return its path and its root."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                fields = before.split()
                return fields[4], fields[3]
    raise OSError("no cgroup v2 is mounted")


def _probe(path: str) -> None:
    _write(path, "cgroup.procs", b"0")
    os._exit(0)


def _write(path: str, name: str, text: bytes) -> None:
    fd = os.open(os.path.join(path, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)


def _populated(events_fd: int) -> bool:
    try:
        return b"populated 1" in os.pread(events_fd, 256, 0)
    except OSError as error:
        return error.errno not in _REMOVED


def _wait_until_empty(events_fd: int) -> bool:
    """Wait some milliseconds until it is empty: a killed process needs a moment to end."""
    poll = select.poll()
    poll.register(events_fd, select.POLLPRI)
    for _ in range(5):
        if not _populated(events_fd):
            return True
        poll.poll(5)
    return not _populated(events_fd)


def _remove(path: str) -> None:
    """Remove an empty cgroup with those that the program made below it.

    The kernel may report a cgroup busy for a moment after its last process has gone.
    """
    for _ in range(_REMOVALS_MAX):
        if _removed(path):
            return
        select.select([], [], [], _REMOVE_AGAIN_S)


def _removed(path: str) -> bool:
    """Try to remove it once."""
    with contextlib.suppress(OSError):
        for directory, _, _ in os.walk(path, topdown=False):
            if directory.count("/") - path.count("/") <= _DEPTH_MAX:
                os.rmdir(directory)
    return not os.path.exists(path)


def _pid_namespace() -> str:
    """Return an id of the PID namespace in which this process's pids are valid."""
    return str(os.stat("/proc/self/ns/pid").st_ino)

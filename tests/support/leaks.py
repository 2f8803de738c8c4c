"""Find what a test leaves behind in its worker: descriptors, threads, processes, namespaces.

A leak makes a later test fail that has nothing to do with it: with EMFILE, on a busy machine, or by
a process that still holds what it needs. So the test that leaks is the one that fails.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

from coordinator.runtime.linux import marks

#: Killed or closed things are gone soon; a busy machine needs its time, and only a leak takes it.
GONE_WITHIN_S = float(os.environ.get("COORD_TEST_GONE_WITHIN_S", "20"))
LOOK_EVERY_S = 0.02
NAMED_NAMESPACES = Path("/run/netns")
#: Opened once by libraries, and kept: no test is to blame.
KEPT = ("/dev/urandom", "/dev/null", "/etc/", "/usr/share/zoneinfo")
#: Threads that libraries keep: execnet's receiver, and a pool that waits for work. The writer of
#: log lines ends with its process, as a node's does.
KEPT_THREADS = ("execnet", "pytest_timeout", "Dummy-", "log")

#: Of multiprocessing: one for each process, started once.
KEPT_PROCESS = "multiprocessing.resource_tracker"
#: A process's start is told in ticks of the kernel.
CLOCK_TICK_S = 0.02

_spawned = threading.Event()
#: Things that fixtures of a wider scope have made while a test ran.
_kept: list[Belongings] = []


def _audited(event: str, _arguments: object) -> None:
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
        _spawned.set()


sys.addaudithook(_audited)


@dataclass(frozen=True, slots=True)
class Belongings:
    """Belongings of a process at one moment."""

    descriptors: frozenset[tuple[str, str]]  #: number and what it is
    threads: frozenset[threading.Thread]
    namespaces: frozenset[str]
    processes: frozenset[int]  #: with the mark of the test that runs, or children
    since: float  #: the moment from which on processes count, in seconds since the machine's start

    @classmethod
    def now(cls, test: str, since: float) -> Belongings:
        """Look around; processes cost something, and are looked for where there can be new ones."""
        return cls(
            descriptors=_descriptors(),
            threads=frozenset(threading.enumerate()),
            namespaces=_namespaces(),
            processes=_processes(test, since) if _spawned.is_set() else frozenset(),
            since=since,
        )


def begin(test: str) -> Belongings:
    """Return what there is before a test; what was started for all tests is not the test's."""
    _spawned.clear()
    return Belongings.now(test, time.clock_gettime(time.CLOCK_BOOTTIME) - CLOCK_TICK_S)


@contextmanager
def for_later_tests(test: str) -> Iterator[None]:
    """Count what the block makes as nobody's leak: it stays for the tests to come."""
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - CLOCK_TICK_S
    before = Belongings.now(test, since)
    yield
    after = Belongings.now(test, since)
    _kept.append(
        Belongings(
            after.descriptors - before.descriptors,
            after.threads - before.threads,
            after.namespaces - before.namespaces,
            after.processes - before.processes,
            since,
        )
    )


def left(before: Belongings, test: str) -> list[str]:
    """Describe what a test has left, once whatever was on its way has gone."""
    before = Belongings(
        before.descriptors.union(*(kept.descriptors for kept in _kept)),
        before.threads.union(*(kept.threads for kept in _kept)),
        before.namespaces.union(*(kept.namespaces for kept in _kept)),
        before.processes.union(*(kept.processes for kept in _kept)),
        before.since,
    )
    found = _more(before, Belongings.now(test, before.since))
    if found:
        gc.collect()
    pause = select.poll()
    give_up_at = time.monotonic() + GONE_WITHIN_S
    while found and time.monotonic() < give_up_at:
        pause.poll(LOOK_EVERY_S * 1000)
        marks.collect()  # the product collects them at its next look
        found = _more(before, Belongings.now(test, before.since))
    return found


def _more(before: Belongings, after: Belongings) -> list[str]:
    return [
        *(
            f"descriptor {fd}: {what}"
            for fd, what in sorted(after.descriptors - before.descriptors)
        ),
        *(f"thread {thread.name}" for thread in after.threads - before.threads if _ours(thread)),
        *(f"network namespace {name}" for name in sorted(after.namespaces - before.namespaces)),
        *(f"process {_described(pid)}" for pid in sorted(after.processes - before.processes)),
    ]


def _ours(thread: threading.Thread) -> bool:
    return thread.is_alive() and not thread.name.startswith(KEPT_THREADS)


def _descriptors() -> frozenset[tuple[str, str]]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            what = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the descriptor of this very look
        if not what.startswith(KEPT) and int(fd) != resource_tracker._resource_tracker._fd:
            found.add((fd, what))
    return frozenset(found)


def _namespaces() -> frozenset[str]:
    """Name the network namespaces of this process's tests: their names say whose they are."""
    if not NAMED_NAMESPACES.is_dir():
        return frozenset()
    mine = f"-{os.getpid()}-"
    return frozenset(name for name in os.listdir(NAMED_NAMESPACES) if mine in name)


def _processes(test: str, since: float) -> frozenset[int]:
    """Find what was started since then by this process, or from its children in this test."""
    # pytest tells each process in its environment which test it belongs to.
    mark = f"PYTEST_CURRENT_TEST={test} (".encode()
    own = str(os.getpid())
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == own:
            continue
        try:
            state, parent, started_at = _state(name)
            if started_at < since or KEPT_PROCESS in _command(name):
                continue
            # Unless it is a child, nobody here can collect a zombie, and it is gone.
            if parent == own or (state != "Z" and mark in _environment(name)):
                found.add(int(name))
        except OSError:
            continue  # it has gone meanwhile, or belongs to somebody else
    return frozenset(found)


def _state(pid: str) -> tuple[str, str, float]:
    """Return the state of a process, its parent, and when it was started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[1], int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _command(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _environment(pid: str) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _described(pid: int) -> str:
    try:
        command = _command(str(pid))
        state, parent, _ = _state(str(pid))
    except OSError:
        return f"{pid}, which is gone by now"
    return f"{pid} ({state}, child of {parent}): {command[:120]}"

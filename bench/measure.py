"""Needs of every benchmark: quantiles, CPU and memory of a process, the machine's name."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.nodes.processes import descendants

#: Between two looks at something that tells nobody when it happens.
LOOK_S = 0.02
COMMAND_S = 120.0

Figures = dict[str, Any]


class BenchError(Exception):
    """A measurement could not be made; the text says why."""


def boottime() -> float:
    """Return the moment by the clock that recorders write down."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pause(seconds: float) -> None:
    """Let time pass."""
    threading.Event().wait(max(0.0, seconds))


def until(condition: Callable[[], object], within_s: float) -> object:
    """Look until the condition is true; return its value, or None after within_s."""
    give_up_at = boottime() + within_s
    while boottime() < give_up_at:
        value = condition()
        if value:
            return value
        pause(LOOK_S)
    return None


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-round(share * 1000) * len(ordered) // 1000))
    return ordered[rank - 1]


def summary(values: Sequence[float]) -> Figures:
    """Return count, min, p50, p95 and max."""
    if not values:
        return {"n": 0, "min": None, "p50": None, "p95": None, "max": None}
    return {
        "n": len(values),
        "min": min(values),
        "p50": quantile(values, 0.5),
        "p95": quantile(values, 0.95),
        "max": max(values),
    }


def median(values: Sequence[float]) -> float:
    """Return the middle one, or the mean of the middle two."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


# --- processes --------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of all living threads of a process, from the scheduler's own count.

    Not utime + stime: those are rounded to ticks of 10 ms, fifty times what one beat costs.
    """
    total_ns = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(FileNotFoundError, ProcessLookupError):
                text = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text()
                total_ns += int(text.split()[0])
    return total_ns / 1e9


def cpu_of(pids: Iterable[int]) -> dict[int, float]:
    """Return the CPU seconds of several processes."""
    return {pid: cpu_s(pid) for pid in pids}


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Return what the processes that lived through both looks have used between them."""
    return sum(after[pid] - before[pid] for pid in before if after.get(pid, 0.0) > 0.0)


def memory_mib(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of a process in MiB."""
    found = {"Rss": 0.0, "Pss": 0.0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key in found:
            found[key] = int(rest.split()[0]) / 1024
    return found["Rss"], found["Pss"]


def family_of(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    return [pid, *descendants(pid)]


# --- recorders --------------------------------------------------------------------------------


@dataclass
class Run:
    """One life of the program, by its own hand; moments in seconds of CLOCK_BOOTTIME."""

    node: str
    pid: int
    first_wall: float
    moments: list[float] = field(default_factory=list)

    @property
    def first(self) -> float:
        return self.moments[0]

    @property
    def last(self) -> float:
        return self.moments[-1]


class Growing:
    """Reads the lines of a file as it grows: each whole line once."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._rest = path, 0, b""

    def lines(self) -> list[str]:
        """Return what is new."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as record:
            record.seek(self._offset)
            new = record.read()
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        return [line.decode() for line in lines]


class Tail:
    """Reads a recorder's file as it grows."""

    def __init__(self, path: Path) -> None:
        self._record = Growing(path)
        self.runs: dict[tuple[str, str, str], Run] = {}

    def read(self) -> list[Run]:
        """Take in what is new; return all runs in the order in which they began."""
        for line in self._record.lines():
            node, term, pid, boot, wall = line.split()
            key = (node, term, pid)
            if key not in self.runs:
                self.runs[key] = Run(node, int(pid), float(wall))
            self.runs[key].moments.append(float(boot))
        return list(self.runs.values())

    def running(self, within_s: float = 0.1) -> list[Run]:
        """Return the runs that wrote a line just now."""
        now = boottime()
        return [run for run in self.read() if now - run.last < within_s]


# --- the machine ------------------------------------------------------------------------------


def machine(postgres: str) -> Figures:
    """Say where the figures come from."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{memory_kib / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgres": postgres,
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def output_of(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed.

    Errors: BenchError with the end of its stderr.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        timeout=COMMAND_S,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{command[0]}: {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout

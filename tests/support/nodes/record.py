"""Reads what recorders wrote, and judges it: overlaps, order of terms, gaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Interval:
    """One run of the program, by its own hand; seconds of CLOCK_BOOTTIME, and wall clock."""

    node: str
    term: int
    pid: int
    first: float
    last: float
    first_wall: float


class Record:
    """A recorder's file, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._runs: dict[tuple[str, int, int], Interval] = {}

    def runs(self) -> list[Interval]:
        """Return the runs so far, in the order in which they began."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                # What follows the last end of a line is being written at this moment.
                whole = file.read().rpartition(b"\n")[0]
            self._offset += len(whole) + 1 if whole else 0
            for line in whole.decode().splitlines():
                self._take_in(line)
        return sorted(self._runs.values(), key=lambda run: run.first)

    def _take_in(self, line: str) -> None:
        fields = line.split()
        if len(fields) != 5:
            return  # its writer died over it
        node, term, pid, boot, wall = fields
        key = (node, int(term), int(pid))
        known = self._runs.get(key)
        if known is None:
            self._runs[key] = Interval(*key, float(boot), float(boot), float(wall))
        else:
            self._runs[key] = Interval(*key, known.first, float(boot), known.first_wall)


def intervals(path: Path) -> list[Interval]:
    """Return the runs in a recorder's file, in the order in which they began."""
    return Record(path).runs()


def overlaps(runs: list[Interval]) -> list[tuple[Interval, Interval]]:
    """Return the pairs of runs that lived at the same moment."""
    return [
        (one, other)
        for index, one in enumerate(runs)
        for other in runs[index + 1 :]
        if other.first <= one.last
    ]


def terms_rise(runs: list[Interval]) -> bool:
    """Say whether no later run has a lower term, and no term belongs to two nodes."""
    ordered = [run.term for run in runs]
    owners = {(run.term, run.node) for run in runs}
    return ordered == sorted(ordered) and len(owners) == len(set(ordered))

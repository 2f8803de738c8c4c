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


def intervals(path: Path) -> list[Interval]:
    """Return the runs in a recorder's file, in the order in which they began."""
    runs: dict[tuple[str, int, int], Interval] = {}
    if not path.exists():
        return []
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) != 5:
            continue  # the line that is being written at this moment
        node, term, pid, boot, wall = fields
        key = (node, int(term), int(pid))
        known = runs.get(key)
        if known is None:
            runs[key] = Interval(*key, float(boot), float(boot), float(wall))
        else:
            runs[key] = Interval(*key, known.first, float(boot), known.first_wall)
    return sorted(runs.values(), key=lambda run: run.first)


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

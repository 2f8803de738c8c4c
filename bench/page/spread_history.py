"""Count a change among the nodes in a history of runs: one way for everybody.

All of it comes from the lines that the tasks' programs write by the kernel's clock, so neither a
contestant nor this benchmark judges itself. A run lasts from its first line to its last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Growing
from tests.support.nodes.task_nodes import TaskRun, overlapping

#: Between two lines of one program.
STEP_MS = 100
#: A program that wrote no line for ten steps is taken for ended; only waiting depends on it.
ALIVE_S = 1.0


class Record:
    """Reads a record of beacons as it grows."""

    def __init__(self, path: Path) -> None:
        self._record = Growing(path)
        self._runs: dict[tuple[str, str, int, int], TaskRun] = {}

    def read(self) -> list[TaskRun]:
        """Take in what is new; return all runs in the order in which they began."""
        for line in self._record.lines():
            self._note(line)
        return sorted(self._runs.values(), key=lambda run: run.first)

    def _note(self, line: str) -> None:
        task, node, term, pid, moment = line.split()
        key = (task, node, int(term), int(pid))
        known = self._runs.get(key)
        first = known.first if known else float(moment)
        self._runs[key] = TaskRun(*key, first=first, last=float(moment))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Course of the tasks from one change among the nodes until nothing moved any more."""

    done_s: float | None  #: seconds until the last that had to move ran again; None: one never did
    gap_s: float  #: the longest time in which a task had no runner
    twice: int  #: tasks that ran twice at once
    twice_s: float  #: the longest of those times
    needless: int  #: starts that the change did not need


def left(runs: Sequence[TaskRun], node: str, at: float, seen_at: float) -> Change:
    """Judge the time from `at`, when a node died or was told to leave, to `seen_at`.

    What it ran has to run elsewhere, once each; nothing else has to move.
    """
    own = {run.task for run in _living(runs, at) if run.node == node}
    began = _began(runs, at, seen_at)
    back: dict[str, float] = {}
    for run in began:
        if run.task in own and run.node != node:
            back.setdefault(run.task, run.first)
    done_s = max(back.values()) - at if own and own == back.keys() else None
    needed = Counter(dict.fromkeys(own, 1))
    return _change(runs, at, seen_at, done_s, Counter(run.task for run in began) - needed)


def returned(runs: Sequence[TaskRun], node: str, at: float, seen_at: float) -> Change:
    """Judge the time from `at`, when a node was started again, to `seen_at`.

    Its share has to move to it, once each; nothing else has to move.
    """
    began = _began(runs, at, seen_at)
    needed = Counter({run.task: 1 for run in began if run.node == node})
    done_s = began[-1].first - at if needed else None
    return _change(runs, at, seen_at, done_s, Counter(run.task for run in began) - needed)


def evenness(runs: Sequence[TaskRun], nodes: int, at: float) -> float:
    """Return the tasks of the fullest node as a ratio to the mean."""
    living = _living(runs, at)
    return max(Counter(run.node for run in living).values()) * nodes / len(living)


def settled(runs: Sequence[TaskRun], tasks: int, now: float, quiet_s: float) -> bool:
    """Say whether each task runs exactly once, and no run began or ended within quiet_s."""
    living = _living(runs, now)
    once = len(living) == tasks == len({run.task for run in living})
    return once and all(run.first < now - quiet_s for run in living)


def moved(runs: Sequence[TaskRun], node: str, at: float) -> bool:
    """Say whether everything that ran on the node at `at` has begun elsewhere since."""
    own = {run.task for run in _living(runs, at) if run.node == node}
    return own <= {run.task for run in runs if run.first > at and run.node != node}


def _living(runs: Sequence[TaskRun], at: float) -> list[TaskRun]:
    return [run for run in runs if run.first <= at <= run.last + ALIVE_S]


def _began(runs: Sequence[TaskRun], at: float, seen_at: float) -> list[TaskRun]:
    found = [run for run in runs if at < run.first <= seen_at]
    return sorted(found, key=lambda run: run.first)


def _change(
    runs: Sequence[TaskRun],
    at: float,
    seen_at: float,
    done_s: float | None,
    needless: Counter[str],
) -> Change:
    gaps = _gaps(runs, at, seen_at)
    pairs = [(run, later) for run, later in overlapping(runs) if at < later.first <= seen_at]
    return Change(
        done_s=done_s,
        gap_s=max(gaps.values(), default=0.0),
        twice=len({later.task for _, later in pairs}),
        twice_s=max((min(a.last, b.last) - b.first for a, b in pairs), default=0.0),
        needless=needless.total(),
    )


def _gaps(runs: Sequence[TaskRun], at: float, seen_at: float) -> dict[str, float]:
    """Return the longest time without a runner of each task that had such a time."""
    until: dict[str, float] = {}
    gaps: dict[str, float] = {}
    ordered = sorted(runs, key=lambda run: run.first)
    for run in ordered:
        known = until.get(run.task)
        if known is not None and at < run.first <= seen_at:
            gaps[run.task] = max(gaps.get(run.task, 0.0), run.first - known)
        until[run.task] = max(run.last, known or run.last)
    for task, last in until.items():
        if at - ALIVE_S < last < seen_at - ALIVE_S:  # nobody took it
            gaps[task] = max(gaps.get(task, 0.0), seen_at - last)
    return gaps

"""Installing the type `tally` for nodes of tests, and reading what its runs wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = "CREATE TABLE public.tally (operation uuid, entity text, node text, term bigint)"


def plug_in(path: Path) -> dict[str, str]:
    """Make a distribution that names the type; return the variables of a node that has it."""
    home = path / "plugged"
    info = home / "tally-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: tally\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text(
        "[coordinator.operations]\ntally = tests.support.operations.tally:Tally\n"
        "broken = tests.support.operations.nowhere:Type\n"
    )
    return variables_of(path)


def variables_of(path: Path) -> dict[str, str]:
    """Return the variables of a node that has the distribution."""
    home, root = path / "plugged", Path(__file__).parents[3]
    return {
        "PYTHONPATH": os.pathsep.join([str(home), str(root), os.environ.get("PYTHONPATH", "")]),
        "TALLY_RECORD": str(path / "tally"),
    }


@dataclass(frozen=True, slots=True)
class TallyRun:
    """One claim's run of one subtask; seconds of CLOCK_BOOTTIME."""

    operation: str
    entity: str
    node: str
    term: int
    first: float
    last: float
    ended: bool


def tally_runs(path: Path) -> list[TallyRun]:
    """Return the runs, in the order in which they began."""
    runs: dict[tuple[str, str, int], TallyRun] = {}
    record = path / "tally"
    if not record.exists():
        return []
    for line in record.read_text().splitlines():
        operation, entity, node, term, what, moment = line.split()
        key = (operation, entity, int(term))
        known = runs.get(key)
        first = known.first if known else float(moment)
        runs[key] = TallyRun(
            operation, entity, node, int(term), first, float(moment), what == "end"
        )
    return sorted(runs.values(), key=lambda run: run.first)


def overlapping(runs: list[TallyRun]) -> Iterator[tuple[TallyRun, TallyRun]]:
    """Yield the pairs of runs of one subtask that lived at the same moment."""
    latest: dict[tuple[str, str], TallyRun] = {}
    for run in runs:
        before = latest.get((run.operation, run.entity))
        if before is not None and run.first <= before.last:
            yield before, run
        latest[run.operation, run.entity] = run

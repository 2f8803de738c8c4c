"""A thousand tasks on twenty nodes: the rule's evenness and cost, the taking, and a real death."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import floor
from bench.adr import task_taking
from bench.measure import Figures, summary
from bench.parts import placement
from tests.support.nodes.task_scale import (
    NODES,
    TASKS,
    Outcome,
    one_node_dies_and_returns,
    scale_bed,
    start_all,
)
from tests.support.servers.postgres import Server


def tasks(server: Server, *, sets: int, rounds: int, runs: int) -> Figures:
    """Compute placements, take tokens all at once, and let a node die among real programs."""
    return {
        "tasks": TASKS,
        "nodes": NODES,
        "placement": placement.figures(sets, TASKS, NODES),
        "taking": task_taking.figures(rounds),
        "deaths": [_death(server) for _ in range(runs)],
    }


def _death(server: Server) -> Figures:
    """Start everything anew, on a database of its own; kill a node, and start it again."""
    database = floor.new_database(server)
    with (
        tempfile.TemporaryDirectory(prefix="coord-bench-") as folder,
        scale_bed(Path(folder), database.conninfo, floor.SCHEMA) as bed,
    ):
        start_all(bed, NODES, TASKS)
        return death_of(one_node_dies_and_returns(bed))


def death_of(outcome: Outcome) -> Figures:
    """Return the figures of one death."""
    return {
        "fullest": outcome.fullest,
        "own": len(outcome.own),
        "moved_others": len(outcome.moved - outcome.own),
        "taken_s": outcome.taken_s,
        "returned": len(outcome.returned),
        "returned_others": len(outcome.returned - outcome.own),
        "displaced": len(outcome.displaced),
        "overlaps": outcome.overlaps,
    }


def taken(deaths: Sequence[Figures]) -> Figures:
    """Summarise the seconds from the session's end to the last task's first line."""
    return summary([float(death["taken_s"]) for death in deaths])

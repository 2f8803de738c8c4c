"""A quiet group: nothing is handed over, nothing restarts, no row is written but heartbeats (K4).

`make soak` lets it last for ten minutes, `make faults` for one.
"""

from __future__ import annotations

import os
import threading
import time

import pytest

from coordinator.protocol.messages.group_record import TaskDef
from tests.support.nodes.processes import eventually
from tests.support.nodes.task_nodes import overlapping, task_bed

SOAK_S = float(os.environ.get("COORD_SOAK_S", "60"))
NODES = ("A", "B", "C", "D", "E")
TASKS = 50


@pytest.fixture
def tasks(tmp_path, database):
    with task_bed(tmp_path, database.conninfo, database.schema) as made:
        made.liveness_s, made.heartbeat_s = 6.0, 1.0
        yield made


@pytest.mark.timeout(SOAK_S + 120)
def test_nothing_is_handed_over_while_nothing_happens(tasks):
    for node in NODES:
        tasks.member(node)
    tasks.wait_for_members(*NODES, within_s=60)
    tasks.add(*(TaskDef(name=f"t{number}", spec=tasks.spec(250)) for number in range(TASKS)))
    eventually(lambda: len({run.task for run in tasks.task_runs()}) == TASKS, 30, "all run")
    before = tasks.where()
    counts = (
        "SELECT count(*) AS n, max(version) AS v FROM {schema}.token_history, {schema}.group_record"
    )
    rows = tasks.ask(counts)

    began_at = time.clock_gettime(time.CLOCK_BOOTTIME)
    threading.Event().wait(SOAK_S)
    ended_at = time.clock_gettime(time.CLOCK_BOOTTIME)

    eventually(lambda: min(run.last for run in tasks.task_runs()) > ended_at, 30, "all run on")
    runs = tasks.task_runs()
    assert len(runs) == TASKS, "each program was started once"
    assert max(run.first for run in runs) < began_at
    assert overlapping(runs) == []
    assert tasks.where() == before
    assert tasks.ask(counts) == rows, "no token was taken, no version raised"

"""A schedule under fire: its nodes' wall clocks are stepped, and its holder dies.

Two nodes of a group of their own run a command twice a second. What was run is what the command
wrote; what was due is arithmetic on the first run. With `catchUp = "all"` no slot may be missing.
"""

from __future__ import annotations

import signal
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from tests.faults.campaign.ground import Ground
from tests.support.machines.faketime import Clocks
from tests.support.nodes.processes import Bed, bed

STEPS_S = (3600.0, -3600.0, 600.0, -600.0, 300.0, -300.0)
INTERVAL_S = 0.5
RUNS = 6  #: before, and after each thing that happens
WAIT_S = 60.0
NAMES = ("clock-1", "clock-2")
TRIGGER = f"""
[program]
command = ["sh", "-c", "echo $COORD_NODE $COORD_SCHEDULED_AT >> slots"]
[trigger]
interval = {INTERVAL_S}
catchUp = "all"
"""


def step_under_schedule(ground: Ground) -> None:
    """Step the wall clock of the holder, then end the holder: no run is lost, doubled or early."""
    clocks = {name: Clocks() for name in NAMES}
    with (
        tempfile.TemporaryDirectory(prefix="schedule-", dir=ground.bed.path) as folder,
        bed(Path(folder), ground.bed.conninfo, ground.bed.schema, Path(folder).name) as nodes,
    ):
        for name in NAMES:
            nodes.start(name, config=TRIGGER, env=clocks[name].env)
        _more_runs(ground, nodes, 0)
        holder = _runs(nodes)[-1][0]
        clocks[holder].step(ground.rng.choice(STEPS_S))
        count = _more_runs(ground, nodes, len(_runs(nodes)))
        nodes.nodes[holder].send(signal.SIGKILL, "all")
        ground.wait(
            lambda: any(name != holder for name, _ in _runs(nodes)),
            f"the other node of the schedule runs{nodes.story()}",
            WAIT_S,
        )
        _more_runs(ground, nodes, count)
        _judge(ground, nodes)


def _runs(nodes: Bed) -> list[tuple[str, datetime]]:
    path = nodes.path / "slots"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, datetime.fromisoformat(slot)) for name, slot in map(str.split, lines)]


def _more_runs(ground: Ground, nodes: Bed, count: int) -> int:
    what = f"{RUNS} runs of the schedule{nodes.story()}"
    ground.wait(lambda: len(_runs(nodes)) >= count + RUNS, what, WAIT_S)
    return len(_runs(nodes))


def _judge(ground: Ground, nodes: Bed) -> None:
    runs = _runs(nodes)
    slots = [slot for _, slot in runs]
    answer = ground.ask("SELECT clock_timestamp()")
    assert answer, "the server answers"
    assert max(slots) <= answer[0][0], f"a run of the future{nodes.story()}"
    due = [slots[0] + timedelta(seconds=INTERVAL_S * k) for k in range(len(slots) + 1)]
    # The run that its holder died in is counted, and may have written nothing.
    missing = [slot for slot in due[:-1] if slot <= max(slots) and slot not in slots]
    died = ground.ask(
        "SELECT count(*) FROM {schema}.event WHERE group_id = %s AND kind = 'run-died'",
        nodes.group,
    ) or [(0,)]
    assert len(set(slots)) == len(slots), f"a run was made twice: {slots}{nodes.story()}"
    assert len(missing) <= int(str(died[0][0])), f"lost: {missing}{nodes.story()}"

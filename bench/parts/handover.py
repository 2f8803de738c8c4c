"""Switchovers in a row, step by step: from the moment asked for to the successor's first line.

    python -m bench.parts.handover [--switchovers 30] [--standby started]

Two nodes, and a program that writes a line every 10 ms and ends at once when it is told to; its
last line is the last thing that it does. With `--standby started` the successor's program waits
at its gate, and no start of an interpreter is in the way.

asked_s:   from the moment asked for (`due_at`) to the last line: the holder's program is stopped.
release_s: from the last line to the release: the program is found dead, and the token given back.
take_s:    from the release to the taking. start_s: from the taking to the successor's first line.
gap_s:     from the last line to the first line: the handover beyond the program's own stop.
late_s:    from the moment asked for to the taking.

Server and nodes share the clock of one machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench import floor
from bench.measure import Figures, summary
from tests.support.nodes.processes import Bed, bed, eventually
from tests.support.nodes.record import Interval, overlaps
from tests.support.servers.postgres import Server

WAIT_S = 30.0
#: Works in steps of 10 ms behind its gate; SIGTERM lets it write once more, and ends it at once.
PROGRAM = """
import os, signal, sys, time
import coordinator

opened = coordinator.gate()
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

def write():
    boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    who = os.environ["COORD_NODE"], opened.term, os.getpid()
    os.write(fd, ("%s %s %s" % who + f" {boot:.6f} {time.time():.6f}\\n").encode())

def end(signum, frame):
    write()
    os._exit(0)

signal.signal(signal.SIGTERM, end)
while True:
    write()
    time.sleep(0.01)
"""
ASK = """
INSERT INTO planned_change (group_id, kind, node, due_at)
VALUES ('orders', 'switchover', %s, clock_timestamp() + interval '500 ms')
"""
MOMENTS = """
SELECT date_part('epoch', change.due_at), date_part('epoch', before.ended_at),
       date_part('epoch', held.acquired_at)
FROM planned_change AS change
JOIN token_history AS held ON held.term = change.id + 1 AND held.group_id = change.group_id
JOIN token_history AS before ON before.term = change.id AND before.group_id = change.group_id
WHERE change.outcome = 'done'
ORDER BY change.id
"""


class Handover(NamedTuple):
    """Moments of one switchover, by the wall clock."""

    due: float
    last: float
    released: float
    taken: float
    first: float


def handovers(server: Server, count: int, standby: str) -> Figures:
    """Hand the token over `count` times, each at a moment half a second ahead."""
    database = floor.new_database(server)
    with (
        tempfile.TemporaryDirectory(prefix="coord-bench-") as folder,
        bed(Path(folder), database.conninfo, floor.SCHEMA) as nodes,
        database.connect() as sql,
    ):
        nodes.liveness_s, nodes.heartbeat_s = 6.0, 1.0
        command = (sys.executable, "-c", PROGRAM, str(nodes.record))
        nodes.start("node-1", "--standby", standby, command=command)
        nodes.wait_for_run()
        nodes.start("node-2", "--standby", standby, command=command)
        for number in range(count):
            target = "node-2" if number % 2 == 0 else "node-1"
            _wait_for_standby(nodes, target, standby, times=number // 2 + 1)
            sql.execute(ASK, [target])
            nodes.wait_for_run(number + 1)
        moments = [tuple(float(str(one)) for one in row) for row in sql.execute(MOMENTS).fetchall()]
        return _figures(nodes.runs(), moments)


def _wait_for_standby(nodes: Bed, name: str, standby: str, *, times: int) -> None:
    """Wait until a node can take over; one with a gate says so each time that its program waits."""
    node = nodes.nodes[name]

    def ready() -> bool:
        if standby == "cold":
            return node.stands_by()
        return node.said().count("ready: the program waits") >= times

    eventually(ready, WAIT_S, nodes.story)


def _figures(runs: list[Interval], moments: list[tuple[float, ...]]) -> Figures:
    found = []
    for (before, after), (due, released, taken) in zip(pairwise(runs), moments, strict=True):
        # Both lines have both clocks; the difference of the two clocks is the same for both.
        last = before.last + (before.first_wall - before.first)
        found.append(Handover(due, last, released, taken, after.first_wall))
    return {
        "switchovers": len(found),
        "overlaps": len(overlaps(runs)),
        "asked_s": summary([one.last - one.due for one in found]),
        "release_s": summary([one.released - one.last for one in found]),
        "take_s": summary([one.taken - one.released for one in found]),
        "start_s": summary([one.first - one.taken for one in found]),
        "gap_s": summary([one.first - one.last for one in found]),
        "late_s": summary([one.taken - one.due for one in found]),
    }


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.parts.handover", description=__doc__)
    parser.add_argument("--switchovers", type=int, default=30)
    parser.add_argument("--standby", choices=("cold", "started"), default="cold")
    asked = parser.parse_args()
    with floor.bench_server() as server:
        json.dump(handovers(server, asked.switchovers, asked.standby), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

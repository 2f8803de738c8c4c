"""`python -m bench.parts.handover`: switchovers in a row, from the program's end to the next start.

Two nodes, a program that writes every 5 ms and ends at once when it is told to. `gap_s` is the
time between the last line of one program and the first of the next, its interpreter's start
included; `late_s` the time from the
moment that a switchover was asked for (`due_at`) to the taking, by the server's clock.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from bench import floor
from bench.measure import Figures, summary
from tests.support.nodes.processes import Bed, bed
from tests.support.nodes.record import overlaps
from tests.support.servers.postgres import Server

ASK = """
INSERT INTO planned_change (group_id, kind, node, due_at)
VALUES ('orders', 'switchover', %s, clock_timestamp() + interval '500 ms')
"""
LATE = """
SELECT date_part('epoch', held.acquired_at - change.due_at)
FROM planned_change AS change
JOIN token_history AS held ON held.term = change.id + 1 AND held.group_id = change.group_id
WHERE change.outcome = 'done'
ORDER BY change.id
"""


def handovers(server: Server, count: int) -> Figures:
    """Hand the token over `count` times, each at a moment half a second ahead."""
    database = floor.new_database(server)
    with (
        tempfile.TemporaryDirectory(prefix="coord-bench-") as folder,
        bed(Path(folder), database.conninfo, floor.SCHEMA) as nodes,
        database.connect() as sql,
    ):
        nodes.liveness_s, nodes.heartbeat_s = 6.0, 1.0
        nodes.start("node-1")
        nodes.wait_for_run()
        nodes.start("node-2")
        nodes.wait_for_standbys(1)
        for number in range(count):
            sql.execute(ASK, ["node-2" if number % 2 == 0 else "node-1"])
            nodes.wait_for_run(number + 1)
        late = [float(str(row[0])) for row in sql.execute(LATE).fetchall()]
        return _figures(nodes, late)


def _figures(nodes: Bed, late: list[float]) -> Figures:
    runs = nodes.runs()
    gaps = [after.first - before.last for before, after in pairwise(runs)]
    return {
        "switchovers": len(gaps),
        "overlaps": len(overlaps(runs)),
        "gap_s": summary(gaps),
        "late_s": summary(late),
    }


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.parts.handover", description=__doc__)
    parser.add_argument("--switchovers", type=int, default=30)
    count = parser.parse_args().switchovers
    with floor.bench_server() as server:
        json.dump(handovers(server, count), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

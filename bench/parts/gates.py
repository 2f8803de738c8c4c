"""Gap of a program that needs seconds to start, when its standby is cold and when it is started.

    python -m bench.parts.gates [--runs 5] [--start-s 5]

Two nodes; SIGKILL of everything of the holder, or an orderly stop. The gap lasts from that moment
to the successor's first act, by one clock of this machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import floor
from bench.measure import Figures, boottime, summary
from tests.support.nodes.processes import Bed, bed, eventually
from tests.support.servers.postgres import Server

WAIT_S = 90.0
#: Loads for a while, waits at its gate if there is one, and notes when it acts.
PROGRAM = """
import sys, time
import coordinator
time.sleep(float(sys.argv[2]))
opened = coordinator.gate()
with open(sys.argv[1], "a") as record:
    record.write(f"{opened.term} {time.clock_gettime(time.CLOCK_BOOTTIME)}\\n")
time.sleep(600)
"""
LOSSES: dict[str, Callable[[Bed, str], None]] = {
    "kill": lambda made, name: made.nodes[name].send(signal.SIGKILL, "all"),
    "stop": lambda made, name: made.nodes[name].process.send_signal(signal.SIGTERM),
}


def gates(server: Server, *, runs: int, start_s: float) -> Figures:
    """Measure each loss for each kind of standby; seconds."""
    return {
        "start_s": start_s,
        "gaps": {
            kind: {
                loss: summary([gap_of(server, kind, loss, start_s) for _ in range(runs)])
                for loss in LOSSES
            }
            for kind in ("cold", "started")
        },
    }


def gap_of(server: Server, kind: str, loss: str, start_s: float) -> float:
    """Lose one holder; return the seconds until its successor acts."""
    database = floor.new_database(server)
    with tempfile.TemporaryDirectory(prefix="coord-bench-") as folder:
        home = Path(folder)
        program, record = home / "program.py", home / "acts"
        program.write_text(PROGRAM)
        command = (sys.executable, str(program), str(record), str(start_s))
        with bed(home, database.conninfo, floor.SCHEMA) as made:
            made.start("a", "--standby", kind, command=command)
            eventually(lambda: "1" in acts(record), WAIT_S, "the first holder acts")
            made.start("b", "--standby", kind, command=command)
            words = "ready: the program waits" if kind == "started" else "standby ("
            eventually(lambda: words in made.nodes["b"].said(), WAIT_S, "a standby")
            began = boottime()
            LOSSES[loss](made, "a")
            eventually(lambda: "2" in acts(record), WAIT_S, "the successor acts")
            return acts(record)["2"] - began


def acts(record: Path) -> dict[str, float]:
    """Return the moment of the first act of each term."""
    if not record.exists():
        return {}
    lines = (line.split() for line in record.read_text().splitlines())
    return {fields[0]: float(fields[1]) for fields in lines if len(fields) == 2}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.parts.gates", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--start-s", type=float, default=5.0)
    arguments = parser.parse_args()
    server = Server.create()
    try:
        print(json.dumps(gates(server, runs=arguments.runs, start_s=arguments.start_s), indent=1))
    finally:
        server.remove()


if __name__ == "__main__":
    main()

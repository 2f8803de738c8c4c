"""Measure how long a person waits for a command, a first run and a planned handover."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import psycopg

from bench import floor
from bench.measure import BenchError, Figures, Run, Tail, boottime, output_of, pause, summary, until
from tests.support.nodes.processes import RECORDER, Bed, bed
from tests.support.servers.postgres import Server

COORD = (sys.executable, "-m", "coordinator.cli")
START_MAX_S = 30.0
GROUP = "orders"


def startup(server: Server, *, runs: int) -> Figures:
    """Measure each command `runs` times, warm; all in seconds."""
    database = floor.new_database(server)
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("COORD_")},
        "COORD_DATABASE_URL": database.conninfo,
        "COORD_GROUP_ID": GROUP,
    }
    with tempfile.TemporaryDirectory(prefix="coord-bench-") as folder:
        home = Path(folder)
        return {
            "program_alone": summary([_program_alone(home, n) for n in range(runs)]),
            "run": summary(_runs(database, home, runs)),
            "handover": summary(_handovers(server, home, runs)),
            "python": summary(_timed(runs, (sys.executable, "-c", "pass"), env)),
            "help": summary(_timed(runs, (*COORD, "--help"), env)),
            "version": summary(_timed(runs, (*COORD, "version"), env)),
            "status": summary(_timed(runs, (*COORD, "status"), env)),
        }


def _timed(runs: int, command: tuple[str, ...], env: dict[str, str]) -> list[float]:
    output_of(*command, env=env)  # warm: caches, .pyc
    took = []
    for _ in range(runs):
        began = boottime()
        output_of(*command, env=env)
        took.append(boottime() - began)
    return took


def _program_alone(folder: Path, number: int) -> float:
    """Measure from exec to the first line of the program itself, without coord."""
    record = folder / f"alone-{number}"
    env = {**os.environ, "COORD_NODE": "alone", "COORD_TERM": "0"}
    began = boottime()
    process = subprocess.Popen([sys.executable, "-S", str(RECORDER), str(record)], env=env)
    try:
        tail = Tail(record)
        if not until(tail.read, START_MAX_S):
            raise BenchError("the recorder does not start")
        return tail.read()[0].first - began
    finally:
        process.kill()
        process.wait(5)


def _runs(database: floor.Database, folder: Path, runs: int) -> list[float]:
    """Measure from `coord run` to the program's first line; token free, schema there."""
    took = []
    for number in range(runs):
        home = folder / f"run-{number}"
        home.mkdir()
        with bed(home, database.conninfo, floor.SCHEMA, GROUP) as nodes:
            tail = Tail(nodes.record)
            began = boottime()
            node = nodes.start("node-1")
            if not until(tail.read, START_MAX_S):
                raise BenchError(f"coord run does not start: {nodes.story()}")
            took.append(tail.read()[0].first - began)
            node.process.terminate()
            node.process.wait(10)
    return took


def _handovers(server: Server, folder: Path, runs: int) -> list[float]:
    """Measure from SIGTERM to the successor's first line, without the old program's own stop.

    The program dies of SIGTERM at once, so that the whole of the rest is ours: ask, stop, collect,
    release, notify, take, start.
    """
    database = floor.new_database(server)
    home = folder / "handover"
    home.mkdir()
    took = []
    with bed(home, database.conninfo, floor.SCHEMA, GROUP) as nodes:
        tail = Tail(nodes.record)
        for name in ("node-1", "node-2", "node-3"):
            nodes.start(name)
        for _ in range(runs):
            old = until(lambda: settled(nodes, tail), START_MAX_S)
            if not isinstance(old, Run):
                raise BenchError(f"no holder and two standbys: {nodes.story()}")
            pause(1.0)
            asked_at = boottime()
            nodes.nodes[old.node].process.send_signal(signal.SIGTERM)
            new = until(partial(_begun_after, tail, asked_at), START_MAX_S)
            if not isinstance(new, Run):
                raise BenchError(f"no successor: {nodes.story()}")
            own_stop_s = max(0.0, old.last - asked_at)
            took.append(new.first - asked_at - own_stop_s)
            nodes.nodes[old.node].process.wait(10)
            nodes.start(old.node)
    return took


def _begun_after(tail: Tail, moment: float) -> Run | None:
    return next((run for run in tail.read() if run.first > moment), None)


def settled(nodes: Bed, tail: Tail) -> Run | None:
    """Return the one running program when every node lives and has beaten lately, else None."""
    running = tail.running()
    if len(running) != 1:
        return None
    # By age, not by ended_at alone: a machine that died holds its session until it is ended.
    with psycopg.connect(nodes.conninfo, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM health_check WHERE ended_at IS NULL AND session IS NOT NULL"
            " AND last_heartbeat > clock_timestamp() - make_interval(secs => %s)",
            [2 * nodes.heartbeat_s],
        ).fetchone()
    return running[0] if row == (len(nodes.nodes),) else None

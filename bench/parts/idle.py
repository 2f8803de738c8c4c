"""Measure a node that does nothing: the server per node and beat, and its own processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import floor
from bench.floor import Database
from bench.measure import (
    BenchError,
    Figures,
    cpu_of,
    family_of,
    median,
    memory_mib,
    pause,
    spent,
    until,
)
from bench.parts import beat
from coordinator.protocol.node.state.last_seen import LOOK_EVERY
from tests.support.nodes.processes import bed
from tests.support.servers.postgres import Server

HEARTBEAT_S, LIVENESS_S = 1.0, 6.0
#: A node sees in its next look at everything that others have joined, and reads the roster anew.
QUIET_S = (LOOK_EVERY + 5) * HEARTBEAT_S
SWARM_READY_S = 300.0
#: Windows in which writes are counted.
COUNTED = 3
GROUP = "idle"
BEATS = "SELECT coalesce(sum(beat), 0)::bigint FROM health_check"
PIECES = ("processes", "nodes", "shapes", "parts")
PER_GROUP = 10
KINDS = ("guardian", "agent", "spare")


def idle(
    server: Server,
    *,
    counts: tuple[int, ...],
    window_s: float,
    rounds: int,
    only: tuple[str, ...] = PIECES,
) -> Figures:
    """Measure real nodes, then swarms of these sizes against pgbench at the same rate."""
    found: Figures = {}
    # Real nodes first: five hundred others leave caches behind that are not a node's usual company.
    if "processes" in only:
        found["processes"] = _real_processes(server, window_s)
    if "nodes" in only:
        for count in counts:
            found[f"nodes_{count}"] = _at_size(server, count, window_s, rounds)
    if "shapes" in only:
        found["shapes"] = {
            count: _shapes(server, count, window_s, rounds) for count in counts if count > PER_GROUP
        }
    if "parts" in only:
        found["parts"] = beat.parts(server, max(counts) // 5, 2 * window_s)
    return found


# --- the server -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writers:
    """An application whose clients write at some rate; `beats`: how often all of them have."""

    database: Database
    application: str
    beats: str

    def written(self) -> int:
        return int(self.database.query(self.beats)[0][0])

    def backends(self) -> list[int]:
        return floor.backends(self.database.server, self.application, self.database.name)


def _at_size(server: Server, count: int, window_s: float, rounds: int) -> Figures:
    """Measure a swarm and the floor: counts of each alone, CPU side by side; medians.

    What a write costs changes with the machine's mood, within minutes and by more than what tells
    the two apart: both have to meet the same.
    """
    migrated, bare = floor.new_database(server), floor.new_database(server, migrated=False)
    bare.query(floor.UPSERT_TABLE)
    ours = Writers(migrated, "coord", BEATS)
    base = Writers(bare, "pgbench", "SELECT coalesce(sum(beat), 0)::bigint FROM floor")
    found: Figures = {}
    with _swarm(migrated, count):
        found["connections_per_node"] = len(ours.backends()) / count
        found |= _counts(ours, window_s)
        with _upserts(base, count, rounds * window_s):
            pairs = [_side_by_side((ours, base), window_s) for _ in range(rounds)]
        # Last: afterwards each backend reads the configuration anew.
        found["statements_per_beat"] = statements_per_beat(migrated, ours.beats)
    with _upserts(base, count, COUNTED * window_s):
        found |= {f"floor_{key}": value for key, value in _counts(base, window_s).items()}
    found["cpu_ms"] = median([mine for mine, _ in pairs])
    found["floor_cpu_ms"] = median([other for _, other in pairs])
    found["ratio_cpu_ms"] = median([mine / other for mine, other in pairs])
    found["ratio_wal_bytes"] = found["wal_bytes"] / found["floor_wal_bytes"]
    found["hot_share"] = _hot_share(migrated)
    return found


def _shapes(server: Server, count: int, window_s: float, rounds: int) -> float:
    """Return what a beat costs in one group, to what it costs in groups of ten beside it."""
    one, tens = floor.new_database(server), floor.new_database(server)
    both = (Writers(one, "coord", BEATS), Writers(tens, "coord", BEATS))
    with _swarm(one, count), _swarm(tens, count, "--per-group", str(PER_GROUP)):
        pairs = [_side_by_side(both, window_s) for _ in range(rounds)]
    return median([mine / other for mine, other in pairs])


@contextmanager
def _upserts(base: Writers, count: int, for_s: float) -> Iterator[None]:
    """Let pgbench's clients do one upsert a second each, from all connected to the end."""
    long_s = for_s + 2 * beat.SETTLE_S + count / 50
    with floor.pgbench(
        base.database, floor.UPSERT, clients=count, seconds=long_s, rate=count / HEARTBEAT_S
    ):
        if not until(lambda: len(base.backends()) >= count, 60):
            raise BenchError(f"pgbench did not open {count} connections")
        pause(beat.SETTLE_S)
        yield


@contextmanager
def _swarm(database: Database, count: int, *options: str) -> Iterator[None]:
    """Play so many nodes in another process, from all joined to the end."""
    command = [sys.executable, "-m", "bench.swarm", database.conninfo, floor.SCHEMA, GROUP]
    command += [str(count), str(HEARTBEAT_S), str(LIVENESS_S), *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = process.stdout.readline().strip()
        if said != "ready":
            raise BenchError(f"the swarm: {said or 'died'}")
        pause(QUIET_S)
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        process.stdout.close()


def _counts(writers: Writers, window_s: float) -> Figures:
    """Count what these write while nobody else does: medians, for the server tidies up at times."""
    windows = [_count(writers, window_s / 2) for _ in range(COUNTED)]
    return {key: median([float(str(each[key])) for each in windows]) for key in windows[0]}


def _count(writers: Writers, window_s: float) -> Figures:
    database = writers.database
    with database.connect() as connection:

        def number(statement: str) -> int:
            row = connection.execute(statement.encode()).fetchone()
            assert row is not None
            return int(str(row[0]))

        xid = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        lsn = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
        clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint"
        everybody = [
            pid for pid in family_of(database.server.pid) if pid != connection.info.backend_pid
        ]
        marks = [number(text) for text in (writers.beats, xid, lsn, clock)]
        before = cpu_of(everybody)
        pause(window_s)
        after = cpu_of(everybody)
        ends = [number(text) for text in (writers.beats, xid, lsn, clock)]
    writes, xids, wal, micros = (end - mark for end, mark in zip(ends, marks, strict=True))
    _must_have_written(writers, writes)
    return {
        "writes_per_s": writes / (micros / 1e6),
        "commits_per_write": xids / writes,
        "server_cpu_ms": 1000 * spent(before, after) / writes,
        "wal_bytes": wal / writes,
    }


def _side_by_side(all_writers: Sequence[Writers], window_s: float) -> list[float]:
    """Return the backends' CPU in ms for one write of each."""
    serving = [writers.backends() for writers in all_writers]
    everybody = [pid for each in serving for pid in each]
    marks, before = [writers.written() for writers in all_writers], cpu_of(everybody)
    pause(window_s)
    ends, after = [writers.written() for writers in all_writers], cpu_of(everybody)
    found: list[float] = []
    for writers, pids, mark, end in zip(all_writers, serving, marks, ends, strict=True):
        _must_have_written(writers, end - mark)
        cpu_s = spent({pid: before[pid] for pid in pids}, after)
        found.append(1000 * cpu_s / (end - mark))
    return found


def _must_have_written(writers: Writers, writes: int) -> None:
    if writes <= 0:
        raise BenchError(f"{writers.application} wrote nothing")


def statements_per_beat(database: Database, beats: str, window_s: float = 5.0) -> float:
    """Count statements in the server's log, in a window of its own: to log them costs CPU."""
    server = database.server
    server.reload(log_statement="all")
    pause(2 * HEARTBEAT_S)  # every backend has read the setting
    try:
        start, before = server.log.stat().st_size, database.query(beats)[0][0]
        pause(window_s)
        end, after = server.log.stat().st_size, database.query(beats)[0][0]
    finally:
        server.reload(log_statement="none")
    with server.log.open("rb") as log:
        log.seek(start)
        text = log.read(end - start).decode(errors="replace")
    said = [line for line in text.splitlines() if line.startswith("coord|LOG:")]
    count = sum("execute" in line or "statement:" in line for line in said)
    return count / max(1, int(after - before))


def _hot_share(database: Database) -> float:
    updated, hot = database.query(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relname = 'health_check'"
    )[0]
    return int(hot) / max(1, int(updated))


# --- the node's own processes -----------------------------------------------------------------


def _real_processes(server: Server, window_s: float) -> Figures:
    """Measure CPU and memory of guardian, agent and spare of a holder and its standbys."""
    database = floor.new_database(server)
    with (
        tempfile.TemporaryDirectory(prefix="coord-bench-") as folder,
        bed(Path(folder), database.conninfo, floor.SCHEMA) as nodes,
    ):
        nodes.liveness_s, nodes.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        for name in ("node-1", "node-2", "node-3"):
            nodes.start(name)
        holder = nodes.wait_for_run(within_s=30).node
        nodes.wait_for_standbys(2)
        pause(QUIET_S)
        families = {
            name: {kind: node.pid_of(kind) for kind in KINDS} for name, node in nodes.nodes.items()
        }
        pids = [pid for family in families.values() for pid in family.values()]
        before = cpu_of(pids)
        pause(window_s)
        after = cpu_of(pids)

        def cost(name: str) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for kind, pid in families[name].items():
                rss, pss = memory_mib(pid)
                cpu = 1000 * (after[pid] - before[pid]) / window_s
                made[kind] = {"cpu_ms_per_s": cpu, "rss_mib": rss, "pss_mib": pss}
            return made

        standbys = [name for name in families if name != holder]
        return {"holder": cost(holder), "standby": cost(standbys[0])}

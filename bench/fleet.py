"""A swarm of several processes on one database or more, and what a server does meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import floor
from bench.floor import Database
from bench.measure import BenchError, Figures, boottime, cpu_of, family_of, memory_mib, pause, spent
from coordinator.protocol.node.state.last_seen import LOOK_EVERY

GROUP = "scale"
#: Nodes of one process: Python's own lock lets one of its threads run at a time, and so many
#: nodes at one beat a second keep it busy for about a fifth of the time.
PER_PROCESS = 250
#: A look at the delays takes so long; the first after the joins meets nodes that are still cold.
LOOK_S = 4.0
#: Time until every node has read everything once more, and seen that others have joined.
WARM_BEATS = LOOK_EVERY + 5
#: A swarm that is not on time by then is one that this machine cannot carry.
CALM_MAX_S = 40.0
END_S = 30.0
#: So many heartbeats must be acknowledged within half a heartbeat of the moment they were due.
ON_TIME = 0.99

BEATS = "SELECT coalesce(sum(beat), 0)::bigint FROM health_check"
COUNTS = (
    BEATS,
    "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
    "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint",
    "SELECT n_tup_upd FROM pg_stat_all_tables WHERE relid = 'health_check'::regclass",
    "SELECT n_tup_hot_upd FROM pg_stat_all_tables WHERE relid = 'health_check'::regclass",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarm:
    """Size of a swarm: nodes, nodes in a group (None: all in one), and intervals."""

    nodes: int
    per_group: int | None
    heartbeat_s: float
    liveness_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Return what the processes of a swarm have told since the last time they were asked."""

    joins_s: float  #: from the first process that began to the last node that had joined
    failures: int
    waits_s: list[float]
    trips_s: list[float]

    @property
    def delays_s(self) -> list[float]:
        """Return the seconds from when each heartbeat was due to its acknowledgement."""
        return [wait + trip for wait, trip in zip(self.waits_s, self.trips_s, strict=True)]


def on_time_share(delays_s: Sequence[float], heartbeat_s: float) -> float:
    """Return the share of heartbeats that were acknowledged within half a heartbeat."""
    if not delays_s:
        return 0.0
    return sum(delay <= heartbeat_s / 2 for delay in delays_s) / len(delays_s)


class Fleet:
    """The processes of one swarm."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def wait_until_ready(self) -> None:
        """Wait until every node has joined and beats."""
        for process in self._processes:
            said = _line(process)
            if said != "ready":
                raise BenchError(f"the swarm: {said or 'died'}")

    def wait_until_calm(self, heartbeat_s: float) -> tuple[Told, float | None]:
        """Wait until heartbeats are on time; return what was told of the joins, and the seconds.

        None for those where it was not so within CALM_MAX_S.
        """
        began_at = boottime()
        joined = self.told()
        while boottime() - began_at < CALM_MAX_S:
            pause(LOOK_S)
            if on_time_share(self.told().delays_s, heartbeat_s) >= ON_TIME:
                calm_s = boottime() - began_at
                pause(WARM_BEATS * heartbeat_s)
                return joined, calm_s
        return joined, None

    def told(self) -> Told:
        """Ask all of them what happened since they were asked last."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        told = [json.loads(_line(process)) for process in self._processes]
        return Told(
            joins_s=max(one["joined_at"] for one in told) - min(one["began_at"] for one in told),
            failures=sum(one["failures"] for one in told),
            waits_s=[wait for one in told for wait in one["waits_s"]],
            trips_s=[trip for one in told for trip in one["trips_s"]],
        )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def fleet(databases: Sequence[Database], swarm: Swarm) -> Iterator[Fleet]:
    """Play a swarm from all joined to the end; its groups are spread by hash over the databases."""
    each = min(PER_PROCESS, swarm.nodes)
    commands = [
        _command(database, swarm, first, min(each, swarm.nodes - first), (shard, len(databases)))
        for first in range(0, swarm.nodes, each)
        for shard, database in enumerate(databases)
    ]
    with ExitStack() as stack:
        made = Fleet([stack.enter_context(_process(command)) for command in commands])
        made.wait_until_ready()
        yield made


def _command(
    database: Database, swarm: Swarm, first: int, count: int, shard: tuple[int, int]
) -> list[str]:
    command = [sys.executable, "-m", "bench.swarm", database.conninfo, floor.SCHEMA, GROUP]
    command += [str(count), str(swarm.heartbeat_s), str(swarm.liveness_s), "--first", str(first)]
    if swarm.per_group is not None:
        command += ["--per-group", str(swarm.per_group)]
    return [*command, "--shard", str(shard[0]), "--shards", str(shard[1])]


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        process.stdout.close()


# --- the server -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a server: counters of its one database, and its processes' CPU seconds."""

    at: float
    counts: tuple[int, ...]  #: of COUNTS
    cpu_s: dict[int, float]  #: by pid; what serves the looking itself is left out
    backends: frozenset[int]


def look(database: Database) -> Look:
    """Look once."""
    server = database.server
    with database.connect() as connection:
        own = connection.info.backend_pid
        counts = []
        for statement in COUNTS:
            row = connection.execute(statement.encode()).fetchone()
            assert row is not None
            counts.append(int(str(row[0])))
        backends = frozenset(floor.backends(server, "coord"))
        return Look(
            at=boottime(),
            counts=tuple(counts),
            cpu_s=cpu_of(pid for pid in family_of(server.pid) if pid != own),
            backends=backends,
        )


def between(before: Look, after: Look) -> Figures:
    """Return what a server did from one look to the next, per beat where that is meant."""
    beats, xids, wal, updated, hot = (
        end - begin for begin, end in zip(before.counts, after.counts, strict=True)
    )
    if beats <= 0:
        raise BenchError("nobody beat while the server was looked at")
    seconds = after.at - before.at
    all_cpu_s = spent(before.cpu_s, after.cpu_s)
    serving = {pid: cpu for pid, cpu in before.cpu_s.items() if pid in before.backends}
    return {
        "beats_per_s": beats / seconds,
        "cpu_ms": 1000 * spent(serving, after.cpu_s) / beats,
        "server_cpu_ms": 1000 * all_cpu_s / beats,
        "server_cores": all_cpu_s / seconds,
        "commits_per_beat": xids / beats,
        "wal_bytes": wal / beats,
        "hot_share": hot / updated if updated else None,
        "connections": len(after.backends),
    }


def memory_of(database: Database) -> Figures:
    """Return the server's memory: of its backends without what they share, and of all of it."""
    serving = floor.backends(database.server, "coord")
    return {
        "backends_pss_mib": sum(memory_mib(pid)[1] for pid in serving),
        "server_pss_mib": sum(memory_mib(pid)[1] for pid in family_of(database.server.pid)),
    }

"""Up to 1,000 nodes on one PostgreSQL: what each beat costs, where it ends, and two databases.

Swarm and server share one machine, so that machine ends before the server does. What the server
costs is counted by the scheduler, and from that follows what a server of its own would carry.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from bench import floor
from bench.fleet import BEATS, ON_TIME, Fleet, Swarm, between, fleet, look, memory_of, on_time_share
from bench.floor import Database
from bench.measure import Figures, boottime, cpu_of, pause, quantile
from bench.parts import beat
from bench.parts.idle import statements_per_beat
from tests.support.servers.postgres import Server

HEARTBEAT_S = 1.0
#: The default of livenessCheckInterval: a thousand nodes that all start at one moment on two cores
#: are late for longer than six seconds.
LIVENESS_S = 30.0
PER_GROUP = 10
SHAPES: dict[str, int | None] = {"one group": None, "groups of 10": PER_GROUP}
#: The end is looked for with fewer nodes and ever shorter heartbeats: each step joins anew.
END_NODES = 500
END_HEARTBEATS_S = (0.5, 0.33, 0.25, 0.2, 0.15, 0.125, 0.1)
#: A machine of which more is in use has nothing left for a process that waits.
FULL = 0.85
ALONE_CLIENTS = 32


#: Parts that can be measured alone.
PIECES = ("shapes", "end", "alone", "two")


def scale(
    server: Server,
    *,
    counts: tuple[int, ...],
    window_s: float,
    only: tuple[str, ...] = PIECES,
    end_heartbeats_s: tuple[float, ...] = END_HEARTBEATS_S,
) -> Figures:
    """Measure swarms of these sizes, the end of one server, and the largest swarm on two."""
    pieces: dict[str, Callable[[], object]] = {
        "shapes": lambda: _shapes(server, counts, window_s),
        "end": lambda: end(server, min(END_NODES, max(counts)), end_heartbeats_s, window_s),
        "alone": lambda: alone(server, window_s),
        "two": lambda: two_servers(server, max(counts), window_s),
    }
    conditions = {"heartbeat_s": HEARTBEAT_S, "liveness_s": LIVENESS_S, "cores": cores()}
    return {**conditions, **{name: pieces[name]() for name in only}}


def _shapes(server: Server, counts: tuple[int, ...], window_s: float) -> Figures:
    return {
        title: [
            at_size(server, _swarm(count, per_group, HEARTBEAT_S), window_s) for count in counts
        ]
        for title, per_group in SHAPES.items()
    }


def _swarm(count: int, per_group: int | None, heartbeat_s: float) -> Swarm:
    return Swarm(nodes=count, per_group=per_group, heartbeat_s=heartbeat_s, liveness_s=LIVENESS_S)


def cores() -> int:
    return len(os.sched_getaffinity(0))


# --- the curves -------------------------------------------------------------------------------


def at_size(server: Server, swarm: Swarm, window_s: float) -> Figures:
    """Play one swarm on a fresh database, and measure."""
    database = floor.new_database(server)
    with fleet([database], swarm) as nodes:
        joined, calm_s = nodes.wait_until_calm(swarm.heartbeat_s)
        (cost,), lateness = window([database], nodes, swarm, window_s)
        memory = memory_of(database)
        statements = statements_per_beat(database, BEATS)
    return {
        "nodes": swarm.nodes,
        "joins_s": joined.joins_s,
        "join_failures": joined.failures,
        "calm_s": calm_s,
        "statements_per_beat": statements,
        **cost,
        **lateness,
        **memory,
    }


def window(
    databases: Sequence[Database], nodes: Fleet, swarm: Swarm, window_s: float
) -> tuple[list[Figures], Figures]:
    """Watch servers and swarm for a while; return what each server did, and how late beats were."""
    failures = nodes.told().failures
    before = [look(database) for database in databases]
    played_s, began_at = cpu_of(nodes.pids), boottime()
    pause(window_s)
    took_s, played_s = boottime() - began_at, _less(cpu_of(nodes.pids), played_s)
    after = [look(database) for database in databases]
    told = nodes.told()
    delays_s = told.delays_s
    lateness: Figures = {
        "swarm_cores": sum(played_s.values()) / took_s,
        "swarm_processes": len(nodes.pids),
        "failures": told.failures - failures,
        "on_time": on_time_share(delays_s, swarm.heartbeat_s),
    }
    for name, values in (("delay", delays_s), ("wait", told.waits_s), ("trip", told.trips_s)):
        for share in (0.5, 0.99):
            lateness[f"{name}_p{share * 100:.0f}_s"] = quantile(values, share) if values else None
    return [between(*looks) for looks in zip(before, after, strict=True)], lateness


def _less(after: dict[int, float], before: dict[int, float]) -> dict[int, float]:
    return {pid: after[pid] - before[pid] for pid in before}


# --- the end ----------------------------------------------------------------------------------


def end(server: Server, count: int, heartbeats_s: Iterable[float], window_s: float) -> Figures:
    """Shorten the heartbeat until beats are late."""
    steps: list[Figures] = []
    for heartbeat_s in heartbeats_s:
        swarm = _swarm(count, PER_GROUP, heartbeat_s)
        database = floor.new_database(server)
        with fleet([database], swarm) as nodes:
            nodes.wait_until_calm(heartbeat_s)
            (cost,), lateness = window([database], nodes, swarm, window_s)
        asked = {"heartbeat_s": heartbeat_s, "asked_per_s": count / heartbeat_s}
        steps.append({**asked, **cost, **lateness})
        if not on_time(steps[-1]):
            break
    return {"nodes": count, "steps": steps}


def on_time(step: Figures) -> bool:
    """Say whether 99 % of a step's beats were acknowledged within half a heartbeat."""
    return float(step["on_time"]) >= ON_TIME


def end_of(steps: Sequence[Figures]) -> tuple[float | None, float | None]:
    """Return the highest rate that held below the first that failed, and that one; beats a second.

    None for what was not met.
    """
    held = None
    for step in sorted(steps, key=lambda step: float(step["asked_per_s"])):
        if not on_time(step):
            return held, float(step["asked_per_s"])
        held = float(step["asked_per_s"])
    return held, None


def bottleneck(step: Figures, cores: int) -> str:
    """Name what a step that failed has waited for, from CPU seconds and from where beats waited.

    wait is what a beat waited in the swarm before it was sent, trip what the server took.
    """
    server, swarm = float(step["server_cores"]), float(step["swarm_cores"])
    if server + swarm >= FULL * cores:
        larger = "swarm" if swarm >= server else "server"
        return f"the machine is full, and the {larger} uses most of it"
    if float(step["wait_p99_s"]) >= float(step["trip_p99_s"]):
        return "the swarm: beats are sent late"
    return "the server: beats are answered late"


def cores_for(cpu_ms: float, nodes: int, heartbeat_s: float) -> float:
    """Return the cores of a server that nodes cost, from the CPU of one beat."""
    return cpu_ms / 1000 * nodes / heartbeat_s


def nodes_for(cpu_ms: float, cores: float, heartbeat_s: float) -> float:
    """Return the nodes for which that many cores of a server suffice: all of them in use."""
    return cores * 1000 / cpu_ms * heartbeat_s


def alone(server: Server, window_s: float) -> Figures:
    """Let pgbench do nothing but our heartbeat's statement, as often as the server answers.

    A client that costs little: it tells where the server ends rather than the swarm.
    """
    database = floor.new_database(server)
    script = beat.filled(beat.text_of(), beat.prepare(database, ALONE_CLIENTS))
    seconds = window_s + 6
    with floor.pgbench(database, script, clients=ALONE_CLIENTS, seconds=seconds) as bench:
        pause(3.0)
        before, played_s, began_at = look(database), cpu_of([bench.process.pid]), boottime()
        pause(window_s)
        played_s = _less(cpu_of([bench.process.pid]), played_s)
        took_s, after = boottime() - began_at, look(database)
        bench.tps(seconds + 30)
    found = between(before, after)
    kept = ("beats_per_s", "server_cpu_ms", "server_cores", "wal_bytes")
    return {
        "clients": ALONE_CLIENTS,
        "client_cores": sum(played_s.values()) / took_s,
        **{key: found[key] for key in kept},
    }


# --- two databases ----------------------------------------------------------------------------


def two_servers(server: Server, count: int, window_s: float) -> Figures:
    """Play one swarm whose groups are spread by hash over two servers."""
    swarm = _swarm(count, PER_GROUP, HEARTBEAT_S)
    with floor.bench_server() as other:
        databases = [floor.new_database(each) for each in (server, other)]
        with fleet(databases, swarm) as nodes:
            joined, calm_s = nodes.wait_until_calm(swarm.heartbeat_s)
            costs, lateness = window(databases, nodes, swarm, window_s)
    found = {"nodes": count, "joins_s": joined.joins_s, "calm_s": calm_s}
    return {**found, "servers": costs, **lateness}

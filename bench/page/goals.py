"""Goals of the design, each with its figure and what was measured for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.fleet import ON_TIME
from bench.measure import Figures, median
from bench.peers.contestants import HEARTBEAT_S, LIVENESS_S

NOT_MEASURED = "not measured in this run"
#: Time that is added to a bound for the tick of a clock and the program's own start.
TAKEOVER_EXTRA_S = 0.1
PROCESS_S = 0.2
HANDOVER_S = 0.05
START_S, HELP_S = 1.0, 0.25
CPU_RATIO, WAL_RATIO, FLAT = 1.5, 2.0, 0.20
AGENT_MS_PER_S, MEMORY_MIB = 2.0, 60.0
NODES_MAX, TASKS_AGAIN_S = 1000, 1.0
CPU_OF_A_BEAT = "server CPU of a beat / of one prepared upsert in pgbench"
#: Of goals that may not be held.
WHY = {
    CPU_OF_A_BEAT: "a beat writes and looks, an upsert only writes: what each part costs is below,"
    " and [ADR 13](adr/0013-a-heartbeat-watches-the-holder.md) has where the rest is",
}
KILLED = ("guardian", "agent", "program")
#: Time for which a program may write that thaws with its node: only a fence refuses it then.
THAW_S = 0.1
STOPPED = {
    "stop-guardian": "the guardian",
    "stop-agent": "the agent",
    "stop-program": "the program, with `progressTimeout` = 1 s",
}
STOOD_STILL = {
    "pause": "SIGSTOP of all processes, and SIGCONT",
    "suspend": "machine suspended to memory, and woken",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; `held` None where there is nothing to judge."""

    what: str
    goal: str
    measured: str
    held: bool | None
    command: str

    @property
    def why(self) -> str:
        """Return why a goal is not held, where that is known; empty else."""
        return WHY.get(self.what, "") if self.held is False else ""


def table(found: Figures) -> list[Line]:
    """Return the lines, in the order of the design."""
    parts = (_takeovers, _costs, _starts, _scale, _many, _tasks)
    return [line for part in parts for line in part(found)]


def _line(what: str, goal: str, measured: str | None, held: bool | None, command: str) -> Line:
    return Line(what, goal, measured or NOT_MEASURED, held, f"python -m bench {command}")


def _fault(found: Figures, key: str) -> Figures | None:
    """Return coord's cell for a fault, if it was measured."""
    cells = found.get("failover", {}).get("cells", {})
    cell: Figures | None = cells.get("coord", {}).get("faults", {}).get(key)
    return None if cell is None or "skipped" in cell else cell


def _takeovers(found: Figures) -> Iterator[Line]:
    matrix = found.get("failover", {})
    liveness_s = matrix.get("liveness_s", LIVENESS_S)
    bound_s = liveness_s + matrix.get("heartbeat_s", HEARTBEAT_S) + TAKEOVER_EXTRA_S
    machine, partition = _fault(found, "machine"), _fault(found, "partition")
    what = "takeover after the machine dies, from its last beat"
    yield _from_beat(f"{what}: always", machine, "max", bound_s)
    yield _from_beat(f"{what}: first in line", machine, "p50", liveness_s + TAKEOVER_EXTRA_S)
    silent = [cell for cell in (machine, partition) if cell]
    late = sum(cell["overlaps"] for cell in silent)
    text = f"{late} overlaps in {sum(cell['runs'] for cell in silent)}" if silent else None
    what = "machine dead or cut off: never two at once"
    yield _line(what, "0 overlaps", text, late == 0 if silent else None, "failover")
    for key in KILLED:
        yield _bounded(f"SIGKILL of the {key}", _fault(found, key), PROCESS_S)
    for key, what in STOPPED.items():
        yield _bounded(f"SIGSTOP of {what}", _fault(found, key), bound_s)
    for key, what in STOOD_STILL.items():
        yield _stood_still(what, _fault(found, key), bound_s)


def _from_beat(what: str, cell: Figures | None, share: str, bound_s: float) -> Line:
    """Judge one quantile of the time from a dead node's last beat."""
    if cell is None or not cell["from_beat"]["n"]:
        return _line(what, f"≤ {bound_s:.1f} s", None, None, "failover")
    value = float(cell["from_beat"][share])
    text = f"{share} {value:.2f} s of {cell['from_beat']['n']}"
    return _line(what, f"≤ {bound_s:.1f} s", text, value <= bound_s, "failover")


def _bounded(what: str, cell: Figures | None, bound_s: float) -> Line:
    """Judge the longest time from the fault to the successor, and the overlaps."""
    goal = f"{_ms(bound_s) if bound_s < 1 else f'{bound_s:.1f} s'}, 0 overlaps"
    if cell is None or not cell["after"]["n"]:
        return _line(what, f"≤ {goal}", None, None, "failover")
    after, overlaps = cell["after"], cell["overlaps"]
    text = f"p50 {_ms(after['p50'])}, max {_ms(after['max'])}, {overlaps} overlaps"
    text += f" in {cell['runs']}"
    if overlaps:
        text += f" (at most {cell['late_lines_max']} lines)"
    if cell["none"]:
        text += f"; nobody took over: {cell['none']}"
    held = after["max"] <= bound_s and not overlaps and not cell["none"]
    return _line(what, f"≤ {goal}", text, held, "failover")


def _stood_still(what: str, cell: Figures | None, bound_s: float) -> Line:
    """Judge a machine that stops as a whole: nobody is left there to end its program in time."""
    goal = f"≤ {bound_s:.1f} s; what the old program writes at the thaw spans ≤ {_ms(THAW_S)}"
    if cell is None or not cell["after"]["n"]:
        return _line(what, goal, None, None, "failover")
    after, thaw_s = cell["after"], cell["overlap_s_max"]
    text = f"p50 {_ms(after['p50'])}, max {_ms(after['max'])}; {cell['overlaps']} of"
    text += f" {cell['runs']} wrote at the thaw, at most {cell['late_lines_max']} lines"
    if cell["none"]:
        text += f"; nobody took over: {cell['none']}"
    held = after["max"] <= bound_s and thaw_s <= THAW_S and not cell["none"]
    return _line(what, goal, text, held, "failover")


def _costs(found: Figures) -> Iterator[Line]:
    sizes = [(key, at) for key, at in found.get("idle", {}).items() if key.startswith("nodes_")]
    for what, key, goal, bound in (
        (
            CPU_OF_A_BEAT,
            "ratio_cpu_ms",
            "≤ 1.5",
            CPU_RATIO,
        ),
        ("WAL bytes of a beat / of that upsert", "ratio_wal_bytes", "≤ 2", WAL_RATIO),
        ("commits per node and heartbeat", "commits_per_write", "1", 1.02),
        ("statements per node and heartbeat", "statements_per_beat", "1", 1.02),
        ("connections per node", "connections_per_node", "1", 1.0),
    ):
        text = ", ".join(f"{at[key]:.2f} ({size[6:]} nodes)" for size, at in sizes)
        held = all(at[key] <= bound for _, at in sizes) if sizes else None
        yield _line(what, goal, text, held, "idle")
    standby = found.get("idle", {}).get("processes", {}).get("standby")
    cpu = standby and standby["agent"]["cpu_ms_per_s"]
    text = standby and f"{cpu:.2f} ms/s (guardian {standby['guardian']['cpu_ms_per_s']:.2f})"
    held = standby and cpu <= AGENT_MS_PER_S
    yield _line("agent CPU of an idle node at 1 beat/s", "≤ 2 ms/s", text, held, "idle")
    if standby:
        rss, pss = (
            sum(standby[who][kind] for who in ("guardian", "agent"))
            for kind in ("rss_mib", "pss_mib")
        )
        spare = standby["spare"]
        text = (
            f"RSS {rss:.0f} MiB, PSS {pss:.0f} MiB (the spare: PSS {spare['pss_mib']:.0f} MiB more)"
        )
        held = rss <= MEMORY_MIB
    yield _line("memory of guardian + agent", "≤ 60 MiB", text if standby else None, held, "idle")


def _starts(found: Figures) -> Iterator[Line]:
    starts = found.get("startup", {})
    for what, key, bound_s in (
        ("graceful handover beyond the program's own stop", "handover", HANDOVER_S),
        ("`coord run` to program started, existing database", "run", START_S),
        ("`coord --help`", "help", HELP_S),
    ):
        at = starts.get(key)
        text = at and f"median {_ms(at['p50'])}, max {_ms(at['max'])} of {at['n']}"
        yield _line(what, f"≤ {_ms(bound_s)}", text, at and at["p50"] <= bound_s, "startup")


def _scale(found: Figures) -> Iterator[Line]:
    """Judge what the size of a group does to a node's cost: by itself, and at an equal load.

    A backend that is woken more often finds more of itself in the caches, so a beat gets cheaper by
    mere load; the second line has the same number of nodes on both sides, at the same time.
    """
    sizes = [at["cpu_ms"] for key, at in found.get("idle", {}).items() if key.startswith("nodes_")]
    text, held = None, None
    if len(sizes) > 1:
        change = max(size / sizes[0] - 1 for size in sizes[1:])
        text = f"{' → '.join(f'{size:.2f}' for size in sizes)} ms ({change:+.0%} at most)"
        held = change <= FLAT
    what = "server CPU per beat from 10 to 500 nodes in one group"
    yield _line(what, "grows by ≤ 20 %", text, held, "idle")
    shapes = found.get("idle", {}).get("shapes")
    text, held = None, None
    if shapes:
        text = ", ".join(f"{ratio:.2f} ({nodes} nodes)" for nodes, ratio in shapes.items())
        held = all(abs(ratio - 1) <= FLAT for ratio in shapes.values())
    what = "server CPU per beat in one group / of as many nodes in groups of 10"
    yield _line(what, "flat: 1 ± 20 %", text, held, "idle")


def _many(found: Figures) -> Iterator[Line]:
    """Judge the thousand nodes that one server has to carry."""
    measured = found.get("scale")
    what = "1,000 nodes on one PostgreSQL at 1 beat/s, 99 % of beats within half a heartbeat"
    goal = "both as one group and as groups of 10"
    if not measured:
        yield _line(what, goal, None, None, "scale")
        return
    largest = {title: sizes[-1] for title, sizes in measured["shapes"].items()}
    text = "; ".join(
        f"{title}: {at['nodes']} nodes, {at['on_time']:.2%} on time,"
        f" {at['server_cores']:.2f} cores of the server"
        for title, at in largest.items()
    )
    full = all(at["nodes"] >= NODES_MAX for at in largest.values())
    held = all(at["on_time"] >= ON_TIME for at in largest.values()) if full else None
    yield _line(what, goal, text, held, "scale")


def _tasks(found: Figures) -> Iterator[Line]:
    """Judge a node's death among a thousand tasks: the slowest run, and all that moved."""
    what = "1,000 tasks, one of 20 nodes dies: all its tasks run again; no other moves"
    goal = f"≤ {TASKS_AGAIN_S:g} s after its session ended, 0 others, 0 overlaps"
    deaths = found.get("tasks", {}).get("deaths")
    if not deaths:
        yield _line(what, goal, None, None, "tasks")
        return
    taken = [float(death["taken_s"]) for death in deaths]
    others = sum(death["moved_others"] for death in deaths)
    overlaps = sum(death["overlaps"] for death in deaths)
    text = f"median {median(taken):.2f} s, max {max(taken):.2f} s of {len(deaths)};"
    text += f" {others} others moved, {overlaps} overlaps"
    held = max(taken) <= TASKS_AGAIN_S and not others and not overlaps
    yield _line(what, goal, text, held, "tasks")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"

"""The page's sections on many nodes and many tasks, and the plots of the cost curves."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import Figures
from bench.page import plots
from bench.parts.scale import bottleneck, cores_for, end_of, nodes_for

SIZE_ROWS = (
    ("server's CPU of a beat, ms", "{server_cpu_ms:.3f}"),
    ("cores of the server in use", "{server_cores:.2f}"),
    ("cores of the swarm in use", "{swarm_cores:.2f}"),
    ("WAL bytes of a beat", "{wal_bytes:.0f}"),
    ("statements per beat", "{statements_per_beat:.3f}"),
    ("commits per beat", "{commits_per_beat:.3f}"),
    ("HOT share of updates", "{hot_share:.3f}"),
    ("connections", "{connections}"),
    ("server's memory (PSS), MiB", "{server_pss_mib:.0f}"),
    ("beats/s", "{beats_per_s:.1f}"),
    ("beats on time", "{on_time:.2%}"),
    ("due to acknowledged: p50, p99, s", "{delay_p50_s:.4f}, {delay_p99_s:.4f}"),
    ("of it before it was sent: p99, s", "{wait_p99_s:.4f}"),
    ("all have joined after, s", "{joins_s:.1f}"),
    ("requests that failed then and later", "{join_failures}, {failures}"),
)


def tasks(found: Figures) -> Iterator[str]:
    """Write the section of many tasks."""
    measured = found.get("tasks")
    if not measured:
        return
    rule, deaths = measured["placement"], measured["deaths"]
    yield f"## {measured['tasks']} tasks on {measured['nodes']} nodes"
    yield ""
    yield "The rule of placement, on random names, and what it costs to compute; all nodes at once"
    yield "take fifty tokens each, their own or at random; and real nodes and programs: one node is"
    yield "killed as a power failure would, and started again."
    yield ""
    yield "| what | measured |"
    yield "|---|---|"
    ratios = (rule[f"fullest_{share}"] for share in ("p50", "p99", "max"))
    even = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    yield f"| fullest node / mean over {rule['sets']} sets: median, 99 %, max | {even} |"
    yield f"| others that move when a node dies, max | {rule['others_by_death_max']} |"
    for key, when in (
        ("task", "a task is added"),
        ("row", "a node comes for the first time"),
        ("eviction", "a node is evicted"),
    ):
        yield f"| others that move when {when}, mean | {rule[f'others_by_{key}_mean']:.2f} |"
    took = (
        f"median {rule['compute_s_p50'] * 1000:.0f} ms, max {rule['compute_s_max'] * 1000:.0f} ms"
    )
    yield f"| all placements computed by one node | {took} |"
    for choice, at in measured["taking"].items():
        text = f"median {at['all_s_p50'] * 1000:.0f} ms, max {at['all_s_max'] * 1000:.0f} ms;"
        text += f" {at['taken']:.0f} taken, {at['aborted']:.1f} transactions aborted"
        yield f"| 20 nodes at once take each {choice} | {text} |"
    yield ""
    heads = ("run", "fullest / mean", "moved: own, others", "last again after the session's end")
    yield "| " + " | ".join((*heads, "came back: own, others", "overlaps")) + " |"
    yield "|---|---|---|---|---|---|"
    for number, at in enumerate(deaths, 1):
        own = at["returned"] - at["returned_others"]
        yield (
            f"| {number} | {at['fullest']:.2f} | {at['own']}, {at['moved_others']}"
            f" | {at['taken_s']:.2f} s | {own}, {at['returned_others']} | {at['overlaps']} |"
        )
    yield ""


def scale(found: Figures, folder: str) -> Iterator[str]:
    """Write the section of many nodes."""
    measured = found.get("scale")
    if not measured:
        return
    yield "## Many nodes"
    yield ""
    yield f"Swarms at one beat each {measured['heartbeat_s']:g} s, `livenessCheckInterval`"
    yield f"{measured['liveness_s']:g} s, with the server on the same {measured['cores']} cores. A"
    yield "beat is on time when it is acknowledged within half a heartbeat of when it was due. What"
    yield "to do with more: [scale.md](scale.md)."
    for title, sizes in measured["shapes"].items():
        yield ""
        yield f"| {title} | " + " | ".join(f"{at['nodes']} nodes" for at in sizes) + " |"
        yield "|---" * (len(sizes) + 1) + "|"
        for name, form in SIZE_ROWS:
            cells = " | ".join(form.format(**{**at, "hot_share": _share(at)}) for at in sizes)
            yield f"| {name} | {cells} |"
    yield ""
    yield f"![CPU of a beat]({folder}/scale-cpu.svg)"
    yield f"![memory of the server]({folder}/scale-memory.svg)"
    yield ""
    yield from _end(measured)
    yield from _two(measured)


def _share(at: Figures) -> float:
    """A window in which the statistics were not written yet has no HOT share."""
    return float("nan") if at["hot_share"] is None else float(at["hot_share"])


def _end(measured: Figures) -> Iterator[str]:
    end, alone, heartbeat_s = measured["end"], measured["alone"], measured["heartbeat_s"]
    yield "### Where one PostgreSQL ends"
    yield ""
    yield f"{end['nodes']} nodes in groups of 10, with ever shorter heartbeats:"
    yield ""
    yield "| beats/s asked for | got | on time | p99, s | of it before sending | server | swarm |"
    yield "|---|---|---|---|---|---|---|"
    for at in end["steps"]:
        yield (
            f"| {at['asked_per_s']:.0f} | {at['beats_per_s']:.0f} | {at['on_time']:.2%}"
            f" | {at['delay_p99_s']:.3f} | {at['wait_p99_s']:.3f}"
            f" | {at['server_cores']:.2f} cores | {at['swarm_cores']:.2f} cores |"
        )
    yield ""
    yield ending(end["steps"], measured["cores"])
    yield ""
    largest = measured["shapes"]["groups of 10"][-1]
    cpu_ms = float(largest["server_cpu_ms"])
    each = f"{cores_for(cpu_ms, 1000, heartbeat_s):.2f} cores"
    most = f"{nodes_for(cpu_ms, 1, heartbeat_s):.0f} nodes"
    yield f"By the CPU of a beat at {largest['nodes']} nodes ({cpu_ms:.3f} ms), 1,000 nodes cost"
    yield f"{each} of a server of its own, and one core of it would be used up by {most}."
    yield "That is arithmetic, not a measurement."
    yield ""
    yield f"pgbench with {alone['clients']} clients does the statement of a heartbeat and nothing"
    yield f"else, as often as it goes: {alone['beats_per_s']:.0f} a second, with"
    yield f"{alone['server_cores']:.2f} cores of the server ({alone['server_cpu_ms']:.3f} ms each)"
    yield f"and {alone['client_cores']:.2f} of its own. Few busy connections are cheaper than many"
    yield "idle ones."
    yield ""


def ending(steps: list[Figures], cores: int) -> str:
    """Say in one sentence where it ended, and what was waited for."""
    held, failed = end_of(steps)
    if failed is None:
        return f"All were on time: the end is above {held:.0f} beats/s."
    step = next(at for at in steps if at["asked_per_s"] == failed)
    held_text = "no step was on time" if held is None else f"{held:.0f} beats/s were on time"
    why = _first(bottleneck(step, cores))
    return f"Asked for on this machine: {held_text}, and {failed:.0f} were not. {why}."


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _two(measured: Figures) -> Iterator[str]:
    two = measured["two"]
    yield "### Two databases"
    yield ""
    yield f"{two['nodes']} nodes in groups of 10, whose group's hash says which of two servers they"
    yield f"use; both on this machine. {two['on_time']:.2%} of the beats were on time (p99"
    yield f"{two['delay_p99_s']:.3f} s); the swarm used {two['swarm_cores']:.2f} cores."
    yield ""
    yield "| server | nodes | beats/s | CPU of a beat, ms | cores | WAL bytes of a beat |"
    yield "|---|---|---|---|---|---|"
    for number, at in enumerate(two["servers"], 1):
        yield (
            f"| {number} | {at['connections']} | {at['beats_per_s']:.1f}"
            f" | {at['server_cpu_ms']:.3f} | {at['server_cores']:.2f} | {at['wal_bytes']:.0f} |"
        )
    yield ""


def curves(found: Figures) -> dict[str, str]:
    """Draw what a node costs over their number."""
    measured = found.get("scale")
    if not measured:
        return {}

    def series(key: str) -> dict[str, list[tuple[float, float]]]:
        return {
            title: [(float(at["nodes"]), float(at[key])) for at in sizes]
            for title, sizes in measured["shapes"].items()
        }

    return {
        "scale-cpu": plots.lines(
            "Server CPU of one beat, over all nodes", "ms; lower is better", series("server_cpu_ms")
        ),
        "scale-memory": plots.lines(
            "Memory of the server, over all nodes", "MiB, PSS", series("server_pss_mib")
        ),
    }

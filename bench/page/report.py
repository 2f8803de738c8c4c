"""Writes docs/benchmarks.md and its plots from what was measured; decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Figures
from bench.page import goals, measured_plots, report_scale, spreading_page
from bench.page.measured_plots import HURT_TITLES, STARTS, in_order
from bench.parts.losses import SUCCESSOR_MAX_S
from coordinator.protocol.node.state.last_seen import LOOK_EVERY

#: Beside the page; everything that the page says can be computed from it again.
RESULTS = "results.json"


def write(found: Figures, page: Path) -> None:
    """Write the page, its plots, and the figures themselves."""
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    for name, svg in measured_plots.drawn(found).items():
        (folder / f"{name}.svg").write_text(svg)
    page.write_text("\n".join(_page(found, folder.name)) + "\n")


def read(page: Path) -> Figures:
    """Return what was measured before, if anything was."""
    path = page.with_suffix("") / RESULTS
    found: Figures = json.loads(path.read_text()) if path.exists() else {}
    return found


# --- the page ---------------------------------------------------------------------------------


def _page(found: Figures, folder: str) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "Written by `make bench` (`python -m bench all --out docs/benchmarks.md`); do not edit."
    yield "Server, nodes and peers share one machine, and the server's data directory is in memory"
    yield "where that is possible: absolute times are this machine's, and what tells something are"
    yield "the ratios, each taken within one run against pgbench on the same server."
    yield ""
    yield from _machines(found)
    yield ""
    yield "## The figures, and their goals"
    yield ""
    yield "| what | goal | measured | held | command |"
    yield "|---|---|---|---|---|"
    lines = goals.table(found)
    for line in lines:
        held = {None: "", True: "yes", False: "**no**"}[
            None if line.held is None else bool(line.held)
        ]
        command = f"`{line.command}`" if line.command else ""
        yield f"| {line.what} | {line.goal} | {line.measured} | {held} | {command} |"
    yield ""
    for line in lines:
        if line.why:
            yield f"Not held, {line.what}: {line.why}."
            yield ""
    yield from _matrix(found, folder)
    yield from spreading_page.section(found, folder)
    yield from _idle(found, folder)
    yield from _startup(found, folder)
    yield from _tokens(found, folder)
    yield from report_scale.tasks(found)
    yield from report_scale.scale(found, folder)


def _machines(found: Figures) -> Iterator[str]:
    """One line for each part: parts may have been measured on different days."""
    yield "| part | when | how | machine |"
    yield "|---|---|---|---|"
    for part, run in found.get("runs", {}).items():
        at = run["machine"]
        machine = f"{at['cpu']}, {at['cores']} cores, {at['memory']}, {at['kernel']},"
        machine += f" Python {at['python']}, PostgreSQL {at['postgres']}; load before: {at['load']}"
        quick = " (quick: few runs)" if run["quick"] else ""
        yield f"| {part} | {at['date']} | `{run['command']}`{quick} | {machine} |"


def _matrix(found: Figures, folder: str) -> Iterator[str]:
    matrix = found.get("failover")
    if not matrix:
        return
    yield "## Failover"
    yield ""
    yield "Three nodes (two in the last two rows) and one program, the same for all: it writes a"
    yield "line every 5 ms. The time is that without a runner, from the old one's last line to the"
    yield "new one's first; below it the runs in which the old one still wrote a line afterwards."
    yield f"For us `livenessCheckInterval` = {matrix['liveness_s']:g} s and `heartbeatFrequency` ="
    yield f"{matrix['heartbeat_s']:g} s; the lock script asks each second."
    yield "etcd and ZooKeeper have one member each and their files in memory; ZooKeeper ticks each"
    yield "500 ms, so that it grants the session. Its script kills the program as soon as kazoo"
    yield "says SUSPENDED. SIGTERM goes to the wrapping process alone: `etcdctl lock` then keeps"
    yield "its program and its lock; it hands over when its whole process group gets the signal."
    yield "A killed process closes its sockets, so `machine dies` is kind to the lock script: a"
    yield "machine that loses its power closes nothing, which is what `network cut` shows."
    yield ""
    entries = dict(in_order(matrix))
    yield "| fault | " + " | ".join(entry["title"] for entry in entries.values()) + " |"
    yield "|---" * (len(entries) + 1) + "|"
    for key, title in HURT_TITLES.items():
        cells = [_cell(entry, key) for entry in entries.values()]
        yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""
    yield "In the last two rows the holder runs on a virtual machine with a kernel and clocks of"
    yield "its own, emulated: what runs there is about ten times slower. It is woken when the"
    yield "successor has run for half a second. Suspended, its monotonic clock stands still and its"
    yield "kernel adds the time asleep to CLOCK_BOOTTIME afterwards, by which we count trust;"
    yield "besides, an agent that finds that it slept begins anew (rule T6). Stopped by its host,"
    yield "all of its clocks stand still, and only the database can tell it: by a notification"
    yield "that waited for it, or an answer to its next heartbeat."
    yield "A program that was frozen together with its whole node may write a few lines between its"
    yield "thaw and its death: whoever could kill it in time was frozen as well. Only a fence"
    yield "closes that gap, and the term is there for it."
    yield ""
    yield f"![time without a runner]({folder}/failover.svg)"
    yield ""


def _cell(entry: Figures, key: str) -> str:
    if "skipped" in entry:
        return f"skipped: {entry['skipped']}"
    cell = entry["faults"].get(key)
    if cell is None:
        return "not measured"
    if "skipped" in cell:
        return str(cell["skipped"])
    text = ""
    gap = cell["gap"]
    if gap["n"] and _both_ran(cell):
        text = "none: two ran"
    elif gap["n"]:
        text = f"p50 {gap['p50']:.2f}, p95 {gap['p95']:.2f}, max {gap['max']:.2f} s"
    if cell["none"]:
        text += f"{', ' if text else ''}nobody within {SUCCESSOR_MAX_S:g} s: {cell['none']}"
    overlaps = f"{cell['overlaps']} of {cell['runs']} overlap"
    if cell["overlaps"]:
        lines, overlap_s = cell["late_lines_max"], cell["overlap_s_max"]
        overlaps = f"**{overlaps}** (≤ {lines} lines, {overlap_s:.2f} s)"
    return f"{text}<br>{overlaps}"


def _both_ran(cell: Figures) -> bool:
    """Say whether each time two ran for longer than it takes to end a program that thaws."""
    return all(lines and overlap_s > goals.THAW_S for *_, lines, overlap_s in cell["losses"])


def _idle(found: Figures, folder: str) -> Iterator[str]:
    idle = found.get("idle")
    if not idle:
        return
    yield "## A node that does nothing"
    yield ""
    yield "A swarm (`python -m bench.swarm`: the real machine and store, one connection each) at"
    yield "1 beat/s, and pgbench with as many clients, doing one prepared single-row upsert at the"
    yield "same rate: counts of each alone, CPU (the scheduler's count of it) with both at once."
    yield ""
    sizes = [(key[6:], at) for key, at in idle.items() if key.startswith("nodes_")]
    yield "| | " + " | ".join(f"{count} nodes" for count, _ in sizes) + " |"
    yield "|---" * (len(sizes) + 1) + "|"
    rows = (
        ("statements per beat", "{statements_per_beat:.3f}"),
        ("connections per node", "{connections_per_node:.2f}"),
        ("commits per beat", "{commits_per_write:.3f}"),
        ("HOT share of updates", "{hot_share:.3f}"),
        ("writes/s: ours, pgbench", "{writes_per_s:.1f}, {floor_writes_per_s:.1f}"),
        (
            "backends' CPU per write, ms",
            "{cpu_ms:.3f} / {floor_cpu_ms:.3f} = **{ratio_cpu_ms:.2f}**",
        ),
        (
            "whole server's CPU per write, each alone, ms",
            "{server_cpu_ms:.3f}, {floor_server_cpu_ms:.3f}",
        ),
        (
            "WAL bytes per write",
            "{wal_bytes:.0f} / {floor_wal_bytes:.0f} = **{ratio_wal_bytes:.2f}**",
        ),
    )
    for title, form in rows:
        yield f"| {title} | " + " | ".join(form.format(**at) for _, at in sizes) + " |"
    yield ""
    yield from _parts(idle.get("parts"))
    yield f"![CPU per beat]({folder}/idle.svg)"
    yield ""
    yield "| process | CPU, ms/s | RSS, MiB | PSS, MiB |"
    yield "|---|---|---|---|"
    for role, family in idle.get("processes", {}).items():
        for who, cost in family.items():
            figures = (cost["cpu_ms_per_s"], cost["rss_mib"], cost["pss_mib"])
            yield f"| {role}'s {who} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |"
    yield ""


def _parts(parts: Figures | None) -> Iterator[str]:
    """Say what a beat is made of."""
    if not parts:
        return
    base = float(parts["upsert"])
    yield "A beat writes its row and watches the holder's, in one statement. One of"
    yield f"{LOOK_EVERY}, and each after a notification, looks at everything. By pgbench, prepared,"
    yield f"side by side, {parts['clients']} clients of each at one a second; backends' CPU:"
    yield ""
    kinds = {
        "write": "what a beat writes, alone",
        "watch": "a beat that watches",
        "look": "a beat that looks at everything",
    }
    yield "| upsert | " + " | ".join(kinds.values()) + " |"
    yield "|---" * (len(kinds) + 1) + "|"
    both = (f"{parts[key]:.3f} ms = **{float(parts[key]) / base:.2f}**" for key in kinds)
    yield f"| {base:.3f} ms | " + " | ".join(both) + " |"
    yield ""


def _startup(found: Figures, folder: str) -> Iterator[str]:
    starts = found.get("startup")
    if not starts:
        return
    yield "## Starting and handing over"
    yield ""
    yield "| what | median | min | max | runs |"
    yield "|---|---|---|---|---|"
    for key, title in STARTS.items():
        at = starts[key]
        figures = " | ".join(f"{at[name] * 1000:.0f} ms" for name in ("p50", "min", "max"))
        yield f"| {title} | {figures} | {at['n']} |"
    yield ""
    yield f"![start-up]({folder}/startup.svg)"
    yield ""


def _tokens(found: Figures, folder: str) -> Iterator[str]:
    tokens = found.get("tokens")
    if not tokens:
        return
    yield "## Taking and releasing"
    yield ""
    yield f"{tokens['clients']} clients, each takes and releases a token of its own as often as it"
    yield "goes; pgbench does the same updates in the same transactions and checks nothing."
    yield "Our clients are Python on the same cores; the server's CPU tells what the database pays."
    yield "Each token is taken by one exchange of a session and given back by another, one"
    yield "round trip each. The goals are 0.5 of the rate and 1.5 times the CPU, with one"
    yield "client on a quiet machine; the load of this run stands above, and more work beside"
    yield "it makes both ratios worse. No single statement of an exchange dominates its CPU:"
    yield "what is checked, beside the writes that pgbench does too, is a dozen small"
    yield "statements (ADR 27, ADR 46)."
    yield ""
    yield "| | ours | pgbench | ratio |"
    yield "|---|---|---|---|"
    for title, key, form in (
        ("tokens/s", "per_s", ".0f"),
        ("backends' CPU per token, ms", "cpu_ms", ".2f"),
    ):
        ours, base, ratio = tokens[key], tokens[f"floor_{key}"], tokens[f"ratio_{key}"]
        yield f"| {title} | {ours:{form}} | {base:{form}} | {ratio:.2f} |"
    yield ""
    yield f"![tokens]({folder}/tokens.svg)"
    yield ""

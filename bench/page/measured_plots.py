"""Plots of the page, one for each part that was measured."""

from __future__ import annotations

from bench.measure import Figures
from bench.page import goals, plots, report_scale, spreading_page
from bench.parts import failover
from bench.peers.entries import ENTRIES

#: The program writes as often.
STEP_S = 0.005
HURT_TITLES = {hurt.key: hurt.title for hurt in failover.HURTS}
STARTS = {
    "python": "`python -c pass`, for comparison",
    "help": "`coord --help`",
    "version": "`coord version`",
    "status": "`coord status`",
    "program_alone": "the program alone, to its first line",
    "run": "`coord run -- program`, to its first line",
    "handover": "handover: SIGTERM to the successor's first line, without the old one's own stop",
}


def drawn(found: Figures) -> dict[str, str]:
    """Return the plots as SVG by the names of their files."""
    made = {}
    if found.get("failover"):
        made["failover"] = _failover_plot(found["failover"])
    if found.get("spreading"):
        made["spreading"] = spreading_page.plot(found["spreading"])
    if found.get("idle"):
        sizes = [(int(k[6:]), at) for k, at in found["idle"].items() if k.startswith("nodes_")]
        series = {
            name: [(float(count), float(at[key])) for count, at in sizes]
            for name, key in (("coord", "cpu_ms"), ("pgbench", "floor_cpu_ms"))
        }
        made["idle"] = plots.lines(
            "Server CPU of one beat, over the nodes of one group", "ms; lower is better", series
        )
    made |= report_scale.curves(found)
    if found.get("startup"):
        rows = [
            plots.Bar(key, at["p50"] * 1000, f"{at['p50'] * 1000:.0f}", mark=at["max"] * 1000)
            for key, at in ((key, found["startup"][key]) for key in STARTS)
        ]
        made["startup"] = plots.bars("Starting and handing over", "ms: median; tick: max", rows)
    if found.get("tokens"):
        at = found["tokens"]
        rows = [
            plots.Bar("coord", at["per_s"], f"{at['per_s']:.0f}"),
            plots.Bar("pgbench, same updates", at["floor_per_s"], f"{at['floor_per_s']:.0f}", 4),
        ]
        made["tokens"] = plots.bars("Tokens taken and released", "tokens a second", rows)
    return made


def _failover_plot(matrix: Figures) -> str:
    rows = []
    for hurt in HURT_TITLES:
        for colour, (key, entry) in enumerate(in_order(matrix)):
            cell = entry.get("faults", {}).get(hurt)
            if cell is None or "skipped" in cell:
                continue
            gap = cell["gap"]
            alone = gap["n"] and gap["p50"] >= STEP_S  # else the new one began beside the old one
            notes = [f"{gap['p50']:.2f}"] if alone else []
            notes += ["nobody takes over"] if cell["none"] else []
            if cell["overlaps"]:
                what = "two ran" if cell["overlap_s_max"] > goals.THAW_S else "wrote at the thaw"
                notes.append(f"{what} in {cell['overlaps']} of {cell['runs']}")
                notes.append(f"≤ {cell['late_lines_max']} lines")
            value, mark = (gap["p50"], gap["p95"]) if alone else (None, None)
            rows.append(plots.Bar(f"{hurt}: {key}", value, ", ".join(notes), colour, mark))
    return plots.bars("Time without a runner", "s: median; tick: p95", rows)


def in_order(matrix: Figures) -> list[tuple[str, Figures]]:
    """Return the contestants' cells in the order in which they are presented."""
    cells: Figures = matrix["cells"]
    return [(entry.key, cells[entry.key]) for entry in ENTRIES if entry.key in cells]

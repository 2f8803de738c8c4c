"""Page about task spreading: a table, and bars; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import Figures
from bench.page import plots

CHANGE_TITLES = {
    "killed": "a node is killed (SIGKILL to all of it)",
    "returned": "it is started again",
    "left": "another node leaves (SIGTERM)",
}
DONE = {
    "killed": "until all its tasks run elsewhere",
    "returned": "until nothing moves any more",
    "left": "until all its tasks run elsewhere",
}


def section(found: Figures, folder: str) -> Iterator[str]:
    """Return the part's lines; none when it was not measured."""
    spread = found.get("spreading")
    if not spread:
        return
    entries = spread["entries"]
    yield "## Spreading tasks"
    yield ""
    yield f"{spread['nodes']} nodes and {spread['tasks']} tasks on one server; each task's program"
    yield "is the same for all and writes a line every 100 ms. A node is killed, started again, and"
    yield "another is told to leave, each when nothing has moved for 10 s. The nodes take turns."
    yield "jobsync is a library: its worker is written after its README and follows"
    yield "`can_claim_task` at each `on_rebalance` and each second besides. Measured are the first"
    yield "five minutes after a change: in these, its nodes look at their tokens every 5 s by"
    yield "default, and later every 30 s. A node that starts is given tokens while it still waits"
    yield "for `wait_on_enter`, 120 s by default, and until that is over nobody runs their tasks."
    yield "It shares 10,000 tokens out evenly and hashes tasks to tokens; coord hashes tasks to"
    yield "nodes with a bound. The fullest node tells what that makes of these tasks."
    yield ""
    yield "| | " + " | ".join(entry["title"] for entry in entries.values()) + " |"
    yield "|---" * (len(entries) + 1) + "|"
    yield _row("settings", (entry["settings"] for entry in entries.values()))
    yield _row("runs", (_or_skipped(entry, "runs") for entry in entries.values()))
    for change, title in CHANGE_TITLES.items():
        for what, cell in (
            (DONE[change], _done),
            ("longest time of a task without a runner", _gap),
            ("tasks that ran twice at once", _twice),
            ("starts that were not needed", _needless),
        ):
            cells = (cell(entry[change]) if change in entry else "" for entry in entries.values())
            yield _row(f"{title}: {what}", cells)
    even = (
        f"{entry['evenness']['p50']:.2f}" if "evenness" in entry else ""
        for entry in entries.values()
    )
    yield _row("fullest node, as a ratio to the mean", even)
    yield ""
    yield f"![longest time of a task without a runner]({folder}/spreading.svg)"
    yield ""


def plot(spread: Figures) -> str:
    """Return the bars: how long a task was without a runner, and what ran twice."""
    rows = []
    for change in CHANGE_TITLES:
        for colour, entry in enumerate(spread["entries"].values()):
            if change not in entry:
                continue
            figures = entry[change]
            gap = figures["gap"]
            note = f"{gap['p50']:.2f}"
            note += f" twice: {figures['twice']}" if figures["twice"] else ""
            label = f"{change}: {entry['title']}"
            rows.append(plots.Bar(label, gap["p50"], note, colour, gap["max"]))
    title = "Longest time of a task without a runner"
    return plots.bars(title, "s: median; tick: max; twice: tasks that ran twice at once", rows)


def _row(title: str, cells: Iterator[object]) -> str:
    return f"| {title} | " + " | ".join(str(cell) for cell in cells) + " |"


def _or_skipped(entry: Figures, key: str) -> str:
    return f"skipped: {entry['skipped']}" if "skipped" in entry else str(entry[key])


def _done(figures: Figures) -> str:
    done = figures["done"]
    text = f"p50 {done['p50']:.2f}, max {done['max']:.2f} s" if done["n"] else ""
    never = f"never: {figures['never']}" if figures["never"] else ""
    return ", ".join(word for word in (text, never) if word)


def _gap(figures: Figures) -> str:
    gap = figures["gap"]
    return f"p50 {gap['p50']:.2f}, max {gap['max']:.2f} s"


def _twice(figures: Figures) -> str:
    return f"**{figures['twice']}** (≤ {figures['twice_s_max']:.2f} s)" if figures["twice"] else "0"


def _needless(figures: Figures) -> str:
    return str(figures["needless"])

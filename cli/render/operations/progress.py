"""Progress of an operation on a terminal, and as lines where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from coordinator.cli.render.operations.tables import done, size
from coordinator.cli.render.units import NOTHING, age, safe

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.app.admin.operations.session import Progress

#: Running subtasks that are shown below the whole.
SUBTASKS_SHOWN = 8
#: Columns of a bar.
BAR_COLUMNS = 30
#: Without a terminal a line is printed after each such share of the whole.
LINE_SHARE = 0.1


def follow(steps: Iterable[Progress], stream: TextIO, *, quiet: bool) -> Iterator[Progress]:
    """Pass the steps on and show each: redrawn in place on a terminal, else as a line now and then.

    quiet: nothing is shown.
    """
    if quiet:
        yield from steps
    elif stream.isatty():
        yield from _drawn(steps, stream)
    else:
        yield from _told(steps, stream)


def share(progress: Progress) -> float:
    """Return the share that is done, from 0 to 1: of bytes, else of units, else of subtasks."""
    row = progress.row
    for total, part in (
        (row["bytes_total"], row["bytes_completed"]),
        (row["progress_total"], row["progress_completed"]),
        (row["subtasks"], row["subtasks_completed"]),
    ):
        if total:
            return min(1.0, float(part) / float(total))
    return 0.0


def line(progress: Progress) -> str:
    """Write the progress of the whole: bar, share, subtasks, bytes, throughput, time left."""
    row, part = progress.row, share(progress)
    filled = round(part * BAR_COLUMNS)
    bar = "#" * filled + "." * (BAR_COLUMNS - filled)
    rate = NOTHING if row["bytes_per_s"] is None else f"{size(row['bytes_per_s'])}/s"
    left = NOTHING if row["eta_s"] is None else age(row["eta_s"])
    waits = f", waits for {row['waits_for']}" if row["waits_for"] else ""
    return (
        f"[{bar}] {part:4.0%} {row['state']}{waits}  {done(row)} subtasks"
        f"  {size(row['bytes_completed'])}/{size(row['bytes_total'])}  {rate}  ETA {left}"
    )


def subtask_lines(progress: Progress) -> list[str]:
    """Write a line for each subtask that runs; no more than a screen holds."""
    lines = [
        f"  {safe(each['entity'])} on {safe(each['owner'])}:"
        f" {each['progress_completed']}/{each['progress_total']} units,"
        f" {size(each['bytes_completed'])}/{size(each['bytes_total'])}"
        + (f", ETA {age(each['eta_s'])}" if each["eta_s"] is not None else "")
        for each in progress.running[:SUBTASKS_SHOWN]
    ]
    more = len(progress.running) - SUBTASKS_SHOWN
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _told(steps: Iterable[Progress], stream: TextIO) -> Iterator[Progress]:
    before: tuple[str, int] | None = None
    for progress in steps:
        now = (str(progress.row["state"]), int(share(progress) / LINE_SHARE))
        if now != before:
            print(line(progress), file=stream, flush=True)
            before = now
        yield progress


def _drawn(steps: Iterable[Progress], stream: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for progress in steps:
            live.update(_picture(progress), refresh=True)
            yield progress


def _picture(progress: Progress) -> RenderableType:
    from rich.text import Text

    return Text("\n".join([line(progress), *subtask_lines(progress)]), overflow="ellipsis")

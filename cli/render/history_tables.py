"""Past takeovers as tables and plots for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.cli.render.fitting import FittedBar
from coordinator.cli.render.tables import dim, footer_line, table_of
from coordinator.cli.render.units import gap, iso, when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.app.admin.status import History
    from coordinator.cli.shared import TimeStyle

#: The tokens of a group's tasks have histories of their own.
NO_TAKEOVERS = "no takeovers in this time; a task's takeovers: `coord history GROUP/TASK`"


def history_parts(history: History, style: TimeStyle, *, several: bool) -> list[RenderableType]:
    """Return the output of `coord history`; with a column for the group if there are several."""
    group = ("GROUP",) if several else ()
    columns = (*group, ">TERM", "AT", "FROM", "TO", "REASON", ">GAP", ">DETECTED", "ENDED")
    rows = [
        (
            *((each.group,) if several else ()),
            each.term,
            when(each.acquired_at, each.age_s, style),
            each.previous or "-",
            each.node,
            cause(each.how, each.reason),
            gap(each.gap_s),
            gap(each.detected_s or None),
            cause(each.end_how, each.end_reason) if each.end_how else "-",
        )
        for each in history.takeovers
    ]
    notes = [] if history.takeovers else [NO_TAKEOVERS]
    table = table_of(
        columns,
        rows,
        names=("GROUP", "FROM", "TO"),
        droppable=("ENDED", ">DETECTED"),
        wraps=("REASON",),
    )
    return [table, *(dim(note) for note in notes), footer_line(history.server)]


def plot_parts(history: History) -> list[RenderableType]:
    """Return a bar for the gap of each takeover, oldest first."""
    from rich.table import Table

    known = [each for each in reversed(history.takeovers) if each.gap_s is not None]
    longest = max((each.gap_s or 0.0 for each in known), default=0.0)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("TERM", justify="right", no_wrap=True)
    table.add_column("AT", no_wrap=True)
    table.add_column("GAP", justify="right", no_wrap=True)
    table.add_column("")  # the only column that shrinks on a narrow terminal
    for each in known:
        fraction = (each.gap_s or 0.0) / longest if longest > 0 else 0.0
        colour = "green" if each.how == "release" else "yellow"
        drawn = FittedBar(fraction, colour)
        table.add_row(str(each.term), iso(each.acquired_at), gap(each.gap_s), drawn)
    gaps = sorted(each.gap_s or 0.0 for each in known)
    notes = [f"p50 {gap(gaps[len(gaps) // 2])}  longest {gap(gaps[-1])}"] if gaps else []
    return [table, *(dim(note) for note in notes), footer_line(history.server)]


def cause(how: str, reason: str | None) -> str:
    """Return the kind of a takeover, with its reason."""
    return f"{how} ({reason})" if reason and reason != how else how

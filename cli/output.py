"""The console of a command: colours only where they are wanted, lines never cut in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coordinator.cli.options import Color, Shared
from coordinator.cli.words import age, gap, iso, safe, when

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from coordinator.app.look import GroupLine, History, NodeLine, Server, Status
    from coordinator.cli.options import TimeStyle

#: A pipe has no width; no table is wider than this.
PIPE_COLUMNS = 1000
#: The longest bar of a plot, in columns.
BAR_COLUMNS = 40

STYLES = {
    "active": "green",
    "ok": "",
    "late": "yellow",
    "leaderless": "bold red",
    "dead": "bold red",
    "idle": "dim",
    "ended": "dim",
    "running": "green",
    "starting": "yellow",
    "stuck": "bold red",
    "waiting": "yellow",
    "disabled": "dim",
}


def console(options: Shared, *, stderr: bool = False) -> Console:
    """Return rich's console as the options and NO_COLOR want it."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=True if options.color is Color.ALWAYS else None,
        no_color=True if options.color is Color.NEVER else None,
        width=None if stream.isatty() else PIPE_COLUMNS,
    )


def show(options: Shared, *parts: RenderableType) -> None:
    """Print tables and lines to stdout, without the blanks that pad a table."""
    from rich.console import Group

    screen = console(options)
    with screen.capture() as captured:
        screen.print(Group(*parts))
    lines = captured.get().splitlines()
    print("\n".join(line.rstrip() for line in lines), flush=True)


def status_parts(
    status: Status, group: str | None, style: TimeStyle, *, everything: bool
) -> list[RenderableType]:
    """Return what `coord status` shows: the groups, or the nodes of one."""
    if group is None:
        parts: list[RenderableType] = [groups_table(status, style)]
        notes = [] if status.groups else ["no groups yet: start a node with `coord run`"]
    else:
        parts, notes = _nodes_parts(status.groups[0], everything=everything)
    return [*parts, *(dim(note) for note in [*notes, footer(status.server)])]


def groups_table(status: Status, style: TimeStyle) -> Table:
    """Return one line for each group."""
    table = _table("GROUP", "STATE", "ACTIVE", ">TERM", "SINCE", ">STANDBY", ">LAST BEAT", ">LEASE")
    for each in status.groups:
        _add(
            table,
            STYLES.get(each.state, ""),
            each.group,
            each.state,
            each.holder or "-",
            each.term,
            when(each.since, each.since_age_s, style),
            each.standby_count,
            age(each.beat_age_s),
            age(each.lease_left_s),
        )
    return table


def nodes_table(nodes: Sequence[NodeLine]) -> tuple[Table, bool]:
    """Return one line for each node, and whether some differ from the active one."""
    active = next((node for node in nodes if node.role == "active" or node.observer), None)
    of_tasks = any(node.task_count is not None for node in nodes)
    table = _table(
        *("TASK", "ROLE", "STATE", *((">TASKS",) if of_tasks else ()), ">LAST BEAT", ">LEASE"),
        *("HOST:PID", ">UPTIME", "VERSION", "CONFIG"),
    )
    marked = False
    for node in nodes:
        version = _compared(node, active, "version")
        config = _compared(node, active, "config_hash")
        marked = marked or "!" in version + config
        _add(
            table,
            STYLES["active"] if node is active else STYLES.get(node.state, ""),
            node.node + (" *" if node.observer else ""),
            node.role if of_tasks or node.state != "ended" else "-",
            node.state,
            *((node.task_count or 0,) if of_tasks else ()),
            age(node.beat_age_s),
            age(node.lease_left_s),
            f"{node.host or '-'}:{node.pid or '-'}",
            age(node.uptime_s),
            version,
            config,
        )
    return table, marked


def history_parts(history: History, style: TimeStyle, *, several: bool) -> list[RenderableType]:
    """Return what `coord history` shows; with a column for the group when there are several."""
    group = ("GROUP",) if several else ()
    table = _table(*group, ">TERM", "AT", "FROM", "TO", "REASON", ">GAP", ">DETECTED")
    for each in history.takeovers:
        _add(
            table,
            "",
            *((each.group,) if several else ()),
            each.term,
            when(each.acquired_at, each.age_s, style),
            each.previous or "-",
            each.node,
            cause(each.how, each.reason),
            gap(each.gap_s),
            gap(each.detected_s or None),
        )
    notes = [] if history.takeovers else ["nothing was taken in this time"]
    return [table, *(dim(note) for note in [*notes, footer(history.server)])]


def plot_parts(history: History) -> list[RenderableType]:
    """Return a bar for the gap of each takeover, oldest first."""
    from rich.text import Text

    known = [each for each in reversed(history.takeovers) if each.gap_s is not None]
    longest = max((each.gap_s or 0.0 for each in known), default=0.0) or 1.0
    table = _table(">TERM", "AT", ">GAP", "")
    for each in known:
        filled = bar((each.gap_s or 0.0) / longest)
        colour = "green" if each.how == "release" else "yellow"
        table.add_row(
            str(each.term), iso(each.acquired_at), gap(each.gap_s), Text(filled, style=colour)
        )
    gaps = sorted(each.gap_s or 0.0 for each in known)
    notes = [f"p50 {gap(gaps[len(gaps) // 2])}  longest {gap(gaps[-1])}"] if gaps else []
    return [table, *(dim(note) for note in [*notes, footer(history.server)])]


def bar(fraction: float) -> str:
    """Draw a fraction of BAR_COLUMNS in eighths of a column; what is not nothing is visible."""
    eighths = max(1, round(fraction * BAR_COLUMNS * 8)) if fraction > 0 else 0
    full, rest = divmod(eighths, 8)
    return "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")


def cause(how: str, reason: str | None) -> str:
    """Say in words how a token changed hands."""
    return f"{how} ({reason})" if reason and reason != how else how


def footer(server: Server) -> str:
    """Say who answered, and how fast."""
    where = "" if server.scope == "server" else "  this machine only"
    clock = iso(server.server_time, digits="milliseconds")[11:-3] + "Z"
    return (
        f"server {server.label}  schema {server.revision}  server time {clock}"
        f"  round trip {server.round_trip_s * 1000:.1f} ms{where}"
    )


def _nodes_parts(group: GroupLine, *, everything: bool) -> tuple[list[RenderableType], list[str]]:
    shown = [node for node in group.nodes if everything or node.state != "ended"]
    table, marked = nodes_table(shown)
    notes = ["! differs from the active node"] if marked else []
    hidden = len(group.nodes) - len(shown)
    if hidden:
        notes.append(f"{hidden} node{'s' if hidden > 1 else ''} that left not shown (-v)")
    of_tasks = any(node.task_count is not None for node in shown)
    if group.state == "active" and of_tasks:
        notes.insert(0, "* the observer")
    if group.state != "active":
        missing = "nobody observes" if of_tasks else "nobody is active"
        since = "" if group.leaderless_s is None else f" for {age(group.leaderless_s)}"
        notes.insert(0, f"{group.group}: {missing}{since} (term {group.term})")
    return [table], notes


def _compared(node: NodeLine, active: NodeLine | None, field: str) -> str:
    """Return a field of a node, marked when the active node's is another."""
    mine = getattr(node, field)
    differs = active is not None and node.state != "ended" and mine != getattr(active, field)
    return f"{mine or '-'}{' !' if differs else ''}"


def _table(*columns: str) -> Table:
    """Return a table without lines; a column named ">X" holds numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        numbers = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if numbers else "left", no_wrap=True
        )
    return table


def table_of(
    columns: Sequence[str], rows: Sequence[Sequence[object]], styles: Sequence[str] = ()
) -> Table:
    """Return a table of plain cells; `styles` are words of STYLES, one for each row."""
    table = _table(*columns)
    for index, row in enumerate(rows):
        _add(table, STYLES.get(styles[index], "") if styles else "", *row)
    return table


def _add(table: Table, style: str, *cells: object) -> None:
    from rich.text import Text

    table.add_row(*(Text(safe(cell), style=style) for cell in cells))


def dim(line: str) -> RenderableType:
    """Return a line that stands below what was asked for."""
    from rich.text import Text

    return Text(line, style="dim")

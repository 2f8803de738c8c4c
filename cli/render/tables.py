"""Tables of groups, nodes and takeovers for people, and the console that they are printed on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from coordinator.cli.render.fitting import FittedBar, FittedLine, FittedTable
from coordinator.cli.render.units import age, gap, iso, when
from coordinator.cli.shared import Color, Shared

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from coordinator.app.admin.status import GroupLine, History, NodeLine, Server, Status
    from coordinator.cli.shared import TimeStyle

#: A pipe has no width; no table is wider than this.
PIPE_COLUMNS = 1000
#: Differences are listed for so many nodes; during a rollout there are many.
DIFFERENCES_MAX = 5

#: The tokens of a group's tasks have histories of their own.
NO_TAKEOVERS = "no takeovers in this time; a task's takeovers: `coord history GROUP/TASK`"

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
    """Return a rich console that honours the options and NO_COLOR; lines in a pipe are not cut."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=True if options.color is Color.ALWAYS else None,
        no_color={Color.ALWAYS: False, Color.NEVER: True}.get(options.color),
        # Otherwise TERM=dumb would suppress the colours that were asked for.
        color_system=_colours(options),
        width=None if stream.isatty() else PIPE_COLUMNS,
    )


def _colours(options: Shared) -> Literal["auto", "standard"] | None:
    if options.color is Color.NEVER:
        return None  # no bold either, which rich would print if FORCE_COLOR is set
    dumb = os.environ.get("TERM", "") in ("", "dumb", "unknown")
    return "standard" if options.color is Color.ALWAYS and dumb else "auto"


def show(options: Shared, *parts: RenderableType) -> None:
    """Print tables and lines to stdout, without trailing spaces."""
    from rich.console import Group

    screen = console(options)
    with screen.capture() as captured:
        screen.print(Group(*parts))
    lines = captured.get().splitlines()
    print("\n".join(line.rstrip() for line in lines), flush=True)


def status_parts(
    status: Status, group: str | None, style: TimeStyle, *, everything: bool
) -> list[RenderableType]:
    """Return the output of `coord status`: the groups, or the nodes of one."""
    if group is None:
        parts: list[RenderableType] = [groups_table(status, style)]
        notes = [] if status.groups else ["no groups yet: start a node with `coord run`"]
    else:
        parts, notes = _nodes_parts(status.groups[0], everything=everything)
    parts += _two_primaries(status)
    return [*parts, *(dim(note) for note in notes), footer_line(status.server)]


def _two_primaries(status: Status) -> list[RenderableType]:
    """Return a warning if several hosts take writes: all but one will lose what was written."""
    from rich.text import Text

    primaries = status.primaries or ()
    if len(primaries) < 2:
        return []
    named = ", ".join(f"{each.address} (timeline {each.timeline})" for each in primaries)
    warning = f"{len(primaries)} primaries take writes at once: {named}; stop all but one"
    return [Text(warning, style="bold red")]


def groups_table(status: Status, style: TimeStyle) -> FittedTable:
    """Return a table with a line for each group."""
    columns = ("GROUP", "STATE", "ACTIVE", ">TERM", "SINCE", ">STANDBY", ">LAST BEAT", ">LEASE")
    rows = [
        (
            each.group,
            each.state,
            each.holder or "-",
            each.term,
            when(each.since, each.since_age_s, style),
            each.standby_count,
            age(each.beat_age_s),
            age(each.lease_left_s),
        )
        for each in status.groups
    ]
    states = [each.state for each in status.groups]
    return table_of(columns, rows, states, droppable=("SINCE", ">STANDBY"))


def nodes_table(nodes: Sequence[NodeLine]) -> tuple[FittedTable, bool]:
    """Return a table with a line for each node, and True if any differs from the active one."""
    active = _active(nodes)
    of_tasks = any(node.task_count is not None for node in nodes)
    columns = (
        *("NODE", "ROLE", "STATE", *((">TASKS",) if of_tasks else ()), ">LAST BEAT", ">LEASE"),
        *("HOST:PID", ">UPTIME", "VERSION", "CONFIG"),
    )
    rows, styles = [], []
    marked = False
    for node in nodes:
        version = _compared(node, active, "version")
        config = _compared(node, active, "config_hash")
        marked = marked or "!" in version + config
        # A holder whose heartbeats have stopped is not shown in green.
        styles.append("active" if node is active and node.state == "ok" else node.state)
        rows.append(
            (
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
        )
    return table_of(columns, rows, styles, droppable=("CONFIG", "VERSION", ">UPTIME")), marked


def history_parts(history: History, style: TimeStyle, *, several: bool) -> list[RenderableType]:
    """Return the output of `coord history`; with a column for the group if there are several."""
    group = ("GROUP",) if several else ()
    columns = (*group, ">TERM", "AT", "FROM", "TO", "REASON", ">GAP", ">DETECTED")
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
        )
        for each in history.takeovers
    ]
    notes = [] if history.takeovers else [NO_TAKEOVERS]
    table = table_of(columns, rows, droppable=(">DETECTED",), wraps=("REASON",))
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


def footer(server: Server) -> str:
    """Return the line that names the server and its round-trip time."""
    return "  ".join(_footer_parts(server))


def footer_line(server: Server) -> FittedLine:
    """Return the footer, shortened to the terminal's width."""
    return FittedLine(_footer_parts(server), droppable=2)


def _footer_parts(server: Server) -> list[str]:
    where = [] if server.scope == "server" else ["this machine only"]
    clock = iso(server.server_time, digits="milliseconds")[11:-3] + "Z"
    return [
        *(f"server {server.label}", *where, f"schema {server.revision}"),
        *(f"server time {clock}", f"round trip {server.round_trip_s * 1000:.1f} ms"),
    ]


def _nodes_parts(group: GroupLine, *, everything: bool) -> tuple[list[RenderableType], list[str]]:
    shown = [node for node in group.nodes if everything or node.state != "ended"]
    table, marked = nodes_table(shown)
    notes = ["! differs from the active node", *_differences(shown)] if marked else []
    hidden = len(group.nodes) - len(shown)
    if hidden:
        notes.append(left_out(hidden))
    of_tasks = any(node.task_count is not None for node in shown)
    if group.state == "active" and of_tasks:
        notes.insert(0, "* the observer")
    if (wait := group.wait) is not None:
        from coordinator.app.admin.explain.unsettled import waits

        notes.insert(0, f"{group.group}: {waits(wait.timeline, wait.why, wait.left_s)}")
    if group.state != "active":
        notes.insert(0, f"{group.group}: {nobody(group, of_tasks=of_tasks)} (term {group.term})")
    return [table], notes


def _differences(nodes: Sequence[NodeLine]) -> list[str]:
    """Return a sentence for each node whose settings differ from the active node's."""
    active = _active(nodes)
    found = []
    for node in nodes:
        if active is None or node.state == "ended" or node.config_hash == active.config_hash:
            continue
        keys = [
            f"{key} {mine:g} s, the active node's is {others:g} s"
            for key, mine, others in (
                ("livenessCheckInterval", node.liveness_s, active.liveness_s),
                ("heartbeatFrequency", node.heartbeat_s, active.heartbeat_s),
            )
            if mine != others
        ]
        what = "; ".join(keys) or "differs in stopTimeout, the program, its trigger or a policy"
        found.append(f"{node.node}: {what}")
    return found[:DIFFERENCES_MAX]


def _active(nodes: Sequence[NodeLine]) -> NodeLine | None:
    return next((node for node in nodes if node.role == "active" or node.observer), None)


def nobody(group: GroupLine, *, of_tasks: bool = False) -> str:
    """Return a clause: the group has no active node, and since when."""
    if group.leaderless_s is None:
        return "nobody observes" if of_tasks else "nobody is active"
    did = "observed" if of_tasks else "been active"
    return f"nobody has {did} for {age(group.leaderless_s)}"


def left_out(count: int) -> str:
    """Return a sentence about the nodes that are not shown."""
    if count == 1:
        return "1 node has left and is not shown (-v)"
    return f"{count} nodes have left and are not shown (-v)"


def _compared(node: NodeLine, active: NodeLine | None, field: str) -> str:
    """Return a field of a node, marked if it differs from the active node's."""
    mine = getattr(node, field)
    differs = active is not None and node.state != "ended" and mine != getattr(active, field)
    return f"{mine or '-'}{' !' if differs else ''}"


def table_of(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    styles: Sequence[str] = (),
    **fitting: Any,
) -> FittedTable:
    """Return a table of plain cells; `styles` are keys of STYLES, one for each row."""
    return FittedTable(columns, rows, [STYLES.get(style, "") for style in styles], **fitting)


def dim(line: str) -> RenderableType:
    """Return a dimmed line, for notes below an answer."""
    from rich.text import Text

    return Text(line, style="dim")

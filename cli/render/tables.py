"""Tables of groups, nodes and takeovers for people, and the console that they are printed on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from coordinator.cli.render.fitting import FittedLine, FittedTable
from coordinator.cli.render.units import iso
from coordinator.cli.shared import Color, Shared

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from coordinator.app.admin.status import Server

#: A pipe has no width; no table is wider than this.
PIPE_COLUMNS = 1000

STYLES = {
    "active": "green",
    "standby": "cyan",
    "paused": "magenta",
    "ok": "",
    "late": "yellow",
    "leaderless": "bold red",
    "dead": "bold red",
    "killed": "bold red",
    "idle": "dim",
    "ended": "dim",
    "running": "green",
    "starting": "yellow",
    "not ready": "yellow",
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


def draws_whole(screen: Console) -> bool:
    """Return True if a person looks at this console on a terminal that can be drawn anew."""
    return screen.is_terminal and screen.file.isatty() and not screen.is_dumb_terminal


def show(options: Shared, *parts: RenderableType) -> None:
    """Print tables and lines to stdout, without trailing spaces."""
    from rich.console import Group

    screen = console(options)
    with screen.capture() as captured:
        screen.print(Group(*parts))
    lines = captured.get().splitlines()
    print("\n".join(line.rstrip() for line in lines), flush=True)


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


def left_out(count: int) -> str:
    """Return a sentence about the nodes that are not shown."""
    if count == 1:
        return "1 node has left and is not shown (-v)"
    return f"{count} nodes have left and are not shown (-v)"

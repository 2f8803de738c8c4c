"""Display of `coord demo`: a live picture on a terminal, lines of text elsewhere."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from coordinator.cli.shared import Shared

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from coordinator.app.admin.status import GroupLine, Status

#: Lines about events that a terminal shows.
LINES_SHOWN = 10


class Display:
    """Display of a group's state and of its events; use it as a context manager."""

    def __init__(self, options: Shared) -> None:
        from coordinator.cli.render.tables import console

        self._console = console(options)
        self._started_at = time.monotonic()
        self._lines: deque[RenderableType] = deque(maxlen=LINES_SHOWN)
        self._live: Live | None = None
        self._picture: list[RenderableType] = []
        self._height = 0  #: rows of the picture

    def __enter__(self) -> Display:
        """Begin to draw, on a terminal."""
        if self._console.is_terminal:
            from rich.live import Live

            self._lines.clear()  # they stand above the picture
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str, style: str = "") -> None:
        """Show an event, with the seconds since the start."""
        from rich.text import Text

        line = Text()
        line.append(f"{time.monotonic() - self._started_at:6.1f} s  ", style="dim")
        line.append(text, style=style)
        self._lines.append(line)
        if self._live is None:
            self._console.print(line, soft_wrap=True)
        else:
            self._refresh()

    def draw(self, status: Status, group: GroupLine | None, work: str) -> None:
        """Show the nodes as the database has them, and the last line of the program."""
        if self._live is None or group is None:
            return
        from rich.text import Text

        from coordinator.cli.render.status_tables import nobody, nodes_table
        from coordinator.cli.render.tables import footer_line
        from coordinator.cli.render.units import safe

        if group.holder is None:
            head = Text(f"{group.group}: {nobody(group)}", "bold red")
        else:
            head = Text(f"{group.group}: {group.holder} is active, term {group.term}", "bold green")
        shown = [node for node in group.nodes if node.state != "ended"]
        table, _ = nodes_table(shown)
        self._height = 8 + len(shown)
        self._picture = [
            head,
            Text(""),
            table,
            Text(""),
            Text(f"program: {safe(work) or '-'}"),
            footer_line(status.server),
            Text("Ctrl-C stops the nodes and this demonstration", style="dim"),
            Text(""),
        ]
        self._refresh()

    def _refresh(self) -> None:
        from rich.console import Group

        assert self._live is not None, "only called while drawing"
        # A small terminal shows the whole picture, and fewer of the lines below it.
        rows_left = max(1, self._console.size.height - self._height - 1)
        lines = list(self._lines)[-rows_left:]
        self._live.update(Group(*self._picture, *lines), refresh=True)

"""Display of `coord demo`: a live picture on a terminal, lines of text elsewhere."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from coordinator.app.admin.status import GroupLine, Status

#: Lines about events that a terminal shows.
LINES_SHOWN = 10


class Display:
    """Display of a group's state and of its events; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = time.monotonic()
        self._lines: deque[tuple[Text, Text]] = deque(maxlen=LINES_SHOWN)
        self._live: Live | None = None
        self._picture: list[RenderableType] = []
        self._head: RenderableType = ""
        self._events_max = LINES_SHOWN  #: rows for events
        self._page = ""  #: address of the page, once it is known
        self.killed = ""  #: node that was killed and not started again

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

        after, told = (
            Text(f"{time.monotonic() - self._started_at:6.1f} s", "dim"),
            Text(text, style),
        )
        self._lines.append((after, told))
        if self._live is None:
            self._console.print(Text("  ").join([after, told]), soft_wrap=True)
        else:
            self._refresh()

    def name_page(self, address: str) -> None:
        """Show the address of the page: in the picture, or as an event where there is none."""
        self._page = address
        if self._live is None:
            self.say(f"the page: {address}", style="bold")

    def draw(self, status: Status, group: GroupLine | None, work: str) -> None:
        """Show the nodes, the last line of the program, and the killed node as killed.

        The database cannot know of a kill yet: there the node is active until its lease ends.
        """
        if self._live is None or group is None:
            return
        from rich.text import Text

        from coordinator.cli.render.status_tables import nodes_table
        from coordinator.cli.render.tables import footer_line
        from coordinator.cli.render.units import safe

        shown = [
            replace(node, state="killed") if node.node == self.killed else node
            for node in group.nodes
            if node.state != "ended"
        ]
        working = "" if group.holder == self.killed else safe(work)
        table, _ = nodes_table(shown)
        self._head = self._headline(group)
        self._picture = [
            table,
            Text(""),
            Text(f"program: {working or '-'}", no_wrap=True, overflow="ellipsis"),
            footer_line(status.server),
            *([Text(f"the page: {self._page}", style="bold")] if self._page else []),
            Text("Ctrl-C stops the nodes and this demonstration", style="bold"),
            Text(""),
        ]
        self._events_max = self._console.size.height - 1 - 2 - len(shown) - len(self._picture)
        self._refresh()

    def _headline(self, group: GroupLine) -> Text:
        from rich.text import Text

        from coordinator.cli.render.status_tables import nobody

        if group.holder is None:
            return Text(f"{group.group}: {nobody(group)}", "bold red")
        if group.holder == self.killed:
            return Text(f"{group.group}: {self.killed} is killed; its lease runs out", "bold red")
        return Text(f"{group.group}: {group.holder} is active, term {group.term}", "bold green")

    def _refresh(self) -> None:
        from rich.console import Group

        from coordinator.cli.render.fitting import FittedScreen

        assert self._live is not None, "only called while drawing"
        if not self._picture:
            self._live.update(self._events(), refresh=True)
            return
        fitted = FittedScreen([*self._picture, self._events()], kept=3)
        self._live.update(Group(self._head, "", fitted), refresh=True)

    def _events(self) -> Table:
        """Return the latest events for which there are rows; a long one takes several."""
        from rich.table import Table

        table = Table.grid()
        for first in range(len(self._lines)):
            table = Table.grid(padding=(0, 2))
            for line in list(self._lines)[first:]:
                table.add_row(*line)
            if len(self._console.render_lines(table)) <= max(1, self._events_max):
                break
        return table

"""`coord status -w`: refresh the status periodically, also through an outage of the database."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NoReturn

from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.errors import say
from coordinator.cli.shared import Output, Shared, TimeStyle
from coordinator.errors import DatabaseUnreachableError, NotFoundError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from coordinator.app.admin.status import Status, StatusReader
    from coordinator.app.config.database_choice import Resolved


class Watch:
    """Last answer of the database, and the error since then, if any."""

    def __init__(self, options: Shared, group: str | None) -> None:
        settings = database_settings_of(options)
        self._options = options
        self._group = group
        self._schema = settings.database.schema
        self._resolved: Resolved = database_of(options, settings, footed=True)
        self._reader: StatusReader | None = None
        self._answered_at = time.monotonic()
        self.found: Status | None = None
        self.trouble = ""

    def refresh(self) -> None:
        """Read the status once more; after an outage, the next call connects anew."""
        from coordinator.app.admin.status import StatusReader

        timeout_s = self._options.timeout_s
        try:
            with within(timeout_s, self._resolved.label):
                if self._reader is None:
                    self._reader = StatusReader(
                        self._resolved, schema=self._schema, timeout_s=timeout_s
                    )
                self.found = self._reader.status(self._group)
        except NotFoundError as error:
            self.found, self.trouble = None, f"{error} yet"
        except DatabaseUnreachableError as error:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            if self.found is None and not self.trouble:
                raise  # the first read
            self.trouble = str(error)
        else:
            self._answered_at = time.monotonic()
            self.trouble = ""

    def parts(self) -> list[RenderableType]:
        """Return the tables and lines to show now."""
        from rich.text import Text

        from coordinator.cli.render.status_tables import status_parts

        if self.found is None:
            return [Text(self.trouble, style="dim")]
        style = self._options.time or TimeStyle.AGO
        parts = status_parts(self.found, self._group, style, everything=self._options.verbose)
        if self.trouble:
            old_s = time.monotonic() - self._answered_at
            parts.append(Text(f"the above is {old_s:.0f} s old: {self.trouble}", style="red"))
        return parts


def watch_status(options: Shared, group: str | None, every_s: float) -> None:
    """Show the status until Ctrl-C."""
    watch = Watch(options, group)
    watch.refresh()
    pause = threading.Event()
    if options.output is Output.JSONL:
        _stream(watch, pause, every_s)
    else:
        _redraw(options, watch, pause, every_s)


def _stream(watch: Watch, pause: threading.Event, every_s: float) -> None:
    from coordinator.cli.render.documents import one, status_lines

    printed = ""
    while True:
        if watch.trouble:
            if watch.trouble != printed:
                say(watch.trouble)
        elif watch.found is not None:
            print("\n".join(map(one, status_lines(watch.found))), flush=True)
        printed = watch.trouble
        pause.wait(every_s)
        watch.refresh()


def _redraw(options: Shared, watch: Watch, pause: threading.Event, every_s: float) -> None:
    from coordinator.cli.render.tables import console, draws_whole, show

    screen = console(options)
    if not screen.is_terminal or screen.is_dumb_terminal:
        while True:
            show(options, *watch.parts(), "")
            pause.wait(every_s)
            watch.refresh()
    if draws_whole(screen):
        _fill(screen, watch, every_s)
    from rich.console import Group
    from rich.live import Live

    # Colours were asked for, and what reads them is no terminal: one picture after the other.
    with Live(Group(*watch.parts()), console=screen, auto_refresh=False) as live:
        while True:
            live.update(Group(*watch.parts()), refresh=True)
            pause.wait(every_s)
            watch.refresh()


def _fill(screen: Console, watch: Watch, every_s: float) -> NoReturn:
    """Fill the terminal until a signal ends the command."""
    from rich.text import Text

    from coordinator.cli.commands.look.full_screen import FullScreen

    hint = Text(f"refreshed every {every_s:g} s; Ctrl-C ends", style="dim")
    with FullScreen(screen, lambda: [*watch.parts(), hint]) as filled:
        while True:
            filled.draw()
            filled.rest(every_s)
            watch.refresh()

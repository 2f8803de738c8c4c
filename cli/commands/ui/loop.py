"""Loop of `coord ui`: one reader of the database for all browsers, and none while nobody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from coordinator.app.admin.page.readings import PageReader, Reading
from coordinator.app.config.database_choice import Resolved
from coordinator.cli.commands.ui import written
from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.shared import Shared
from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.web.page.feed import Feed, Frame

#: Seconds between two readings; a notification brings the next one forward.
READ_EVERY_S = 1.0
#: Readings are never closer than this, however many notifications come.
READ_APART_S = 0.1
#: A wait for notifications looks this often whether somebody new looks at the page.
LOOK_S = 0.1
#: Nobody looks: the connections are closed after so long.
KEEP_S = 30.0


class Loop:
    """Reader of one database, which publishes to one feed; runs in the main thread."""

    def __init__(self, options: Shared, group: str | None, feed: Feed) -> None:
        settings = database_settings_of(options)
        self._options, self._group, self._feed = options, group, feed
        self.schema = settings.database.schema
        self.resolved: Resolved = database_of(options, settings)
        self._reader = PageReader(
            self.resolved, schema=self.schema, timeout_s=options.timeout_s, only=group
        )
        self._pause = threading.Event()
        self._news = True

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()

    def run(self, alive: Callable[[], bool]) -> None:
        """Read as long as somebody looks, until Ctrl-C or the end of the server.

        Errors: CoordError if the schema is wrong at the start, or the server has ended.
        """
        self._check()
        while alive():
            if self._feed.somebody_looks(KEEP_S):
                self._feed.wanted.clear()
                self.turn()
            else:
                self._reader.close()
                self._news = True
        raise CoordError("the server of the page has ended")

    def turn(self) -> None:
        """Read once, publish, and wait until the next reading is due."""
        began = time.monotonic()
        try:
            with within(self._options.timeout_s, self.resolved.label):
                watched = self._feed.watched()
                reading = self._reader.read(watched, began, news=self._news)
        except CoordError as error:
            self._trouble(error)
            self._pause.wait(READ_EVERY_S)
            return
        self._news = False
        self._feed.publish(self._frame(reading, watched))
        self._wait(began)

    def _check(self) -> None:
        """Read once, so that a wrong schema or login is refused; an outage is for the page."""
        try:
            with within(self._options.timeout_s, self.resolved.label):
                self._reader.status()
        except DatabaseUnreachableError as error:
            self._trouble(error)

    def _trouble(self, error: CoordError) -> None:
        self._reader.close()
        self._news = True
        what = str(error).splitlines()[0]
        self._feed.report(what)

    def _wait(self, began: float) -> None:
        """Wait for news, for somebody new, or for the time of the next reading."""
        self._pause.wait(max(0.0, began + READ_APART_S - time.monotonic()))
        try:
            while (left_s := began + READ_EVERY_S - time.monotonic()) > 0:
                if self._reader.wait_for_news(min(LOOK_S, left_s)):
                    self._news = True
                    return
                if self._feed.wanted.is_set():
                    return
        except CoordError as error:
            self._trouble(error)

    def _frame(self, reading: Reading, watched: tuple[str, ...]) -> Frame:
        return Frame(
            overview=written.line(written.overview(reading)),
            groups={each.group.group: written.line(written.group(each)) for each in reading.groups},
            asked=watched,
            status=lambda: written.status(reading),
            table=lambda: written.table(self._options, self._group, reading),
        )

"""`coord events -f`: new events as they are committed, also through an outage of the database."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.errors import say
from coordinator.cli.shared import Output, Shared, TimeStyle
from coordinator.errors import DatabaseUnreachableError

if TYPE_CHECKING:
    from coordinator.app.admin.events import EventLine, EventReader

#: Seconds between two readings; a notification brings the next one forward.
POLL_S = 1.0
#: Numbers before the last event under which another one may still appear.
BEHIND = 100


class Follower:
    """Reader that connects anew after an outage, and shows each event once."""

    def __init__(self, options: Shared, group: str | None, since_s: float | None) -> None:
        from coordinator.app.admin.events import Seen

        self._options, self._group, self._since_s = options, group, since_s
        self._settings = database_settings_of(options)
        self._resolved = database_of(options, self._settings)
        self._reader: EventReader | None = None
        self._seen: Seen | None = None
        self.trouble = ""

    def new_events(self) -> list[EventLine]:
        """Return the events that have appeared; none while the database does not answer.

        Errors: those of the first connection.
        """
        first = self._seen is None
        try:
            with within(self._options.timeout_s, self._resolved.label):
                found = self._read()
        except DatabaseUnreachableError as error:
            self._drop()
            if first:
                raise
            self.trouble = str(error)
            return []
        self.trouble = ""
        return found

    def wait(self, pause: threading.Event) -> None:
        """Wait for news, at most until the next reading."""
        try:
            if self._reader is not None and self._group is not None:
                self._reader.wait_for_news(POLL_S)
                return
        except DatabaseUnreachableError as error:
            self._drop()
            self.trouble = str(error)
        pause.wait(POLL_S)

    def _read(self) -> list[EventLine]:
        reader = self._reader or self._connected()
        if self._seen is None:
            from coordinator.app.admin.events import Seen

            reader.known(self._group)
            past = []
            if self._since_s is not None:
                past = list(reader.events(self._group, since_s=self._since_s))
            self._seen = Seen(past[0].id - 1 if past else max(0, reader.last_event() - BEHIND))
            found = self._seen.fresh(reader.events(self._group, after=self._seen.floor))
            return found if past else []
        return self._seen.fresh(reader.events(self._group, after=self._seen.floor))

    def _connected(self) -> EventReader:
        from coordinator.app.admin.events import EventReader

        self._reader = EventReader(
            self._resolved,
            schema=self._settings.database.schema,
            timeout_s=self._options.timeout_s,
        )
        if self._group is not None:
            self._reader.listen(self._group.partition("/")[0])
        return self._reader

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def follow_events(options: Shared, group: str | None, since_s: float | None) -> None:
    """Print new events until Ctrl-C."""
    from coordinator.cli.render.documents import one
    from coordinator.cli.render.event_pages import event_line, event_text

    follower = Follower(options, group, since_s)
    style = options.time or TimeStyle.ISO
    pause = threading.Event()
    told = ""
    while True:
        for event in follower.new_events():
            line = one(event_line(event)) if options.output is Output.JSONL else None
            print(line or event_text(event, style), flush=True)
        if follower.trouble and follower.trouble != told:
            say(follower.trouble)
        told = follower.trouble
        follower.wait(pause)

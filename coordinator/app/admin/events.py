"""Events of groups, and their schedules, as plain values; a follower that misses no event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from coordinator.app.admin.task_views import Asked
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import NotFoundError
from coordinator.store.admin import queries
from coordinator.store.admin.connection import AdminConnection, Rows
from coordinator.store.admin.look import events as store
from coordinator.store.sql.view import channel_of

#: A transaction that takes longer than this between the number of its event and its end is not
#: waited for: what it wrote is seen by a later reading without -f only.
OVERLAP_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One event; token is the group, or GROUP/TASK."""

    id: int
    at: datetime
    token: str
    kind: str
    node: str | None
    term: int | None
    reason: str | None
    who: str | None
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """One schedule: of a group's program, or of a task.

    node:     the live node that holds its token; None: nobody runs it now.
    next_in_s: seconds until the next run; below 0: overdue. None: not known, or it has ended.
    """

    job: str
    node: str | None
    fired_at: datetime | None
    fired_age_s: float | None
    outcome: str | None
    error: str | None
    duration_s: float | None
    next_at: datetime | None
    next_in_s: float | None
    fired_count: int
    skipped_count: int
    ended: bool
    end_reason: str


class EventReader:
    """Connection that reads events and schedules; close it after use."""

    __slots__ = ("_database", "_resolved")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError, SchemaError.
        """
        self._resolved = resolved
        self._database = AdminConnection.to_whole_schema(
            resolved.conninfo, schema, resolved.label, timeout_s
        )

    @classmethod
    def on(cls, database: AdminConnection, resolved: Resolved) -> Self:
        """Return a reader on a connection that is open, to a whole schema."""
        reader = cls.__new__(cls)
        reader._resolved, reader._database = resolved, database
        return reader

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def asked(self) -> Asked:
        """Return the moment of the answer, by the server's clock."""
        return Asked(server_time=self._database.server_time(), scope=self._resolved.scope)

    def known(self, group: str | None) -> None:
        """Check that a group exists.

        Errors: NotFoundError if there is no such group.
        """
        if group is None:
            return
        base = group.partition("/")[0]
        (row,) = self._database.read(queries.KNOWN, group_id=base)
        if not row["exists"]:
            raise NotFoundError(f"there is no group {base!r} in {self._resolved.label}")

    def events(
        self, group: str | None, *, since_s: float | None = None, after: int = 0
    ) -> Iterator[EventLine]:
        """Yield the events of a group, or of all, oldest first."""
        while True:
            rows = self._events(group, since_s, after)
            yield from (EventLine(**row) for row in rows)
            if len(rows) < store.EVENTS_MAX:
                return
            after = rows[-1]["id"]

    def last_event(self) -> int:
        """Return the number of the last event of all groups."""
        return int(self._database.read(store.LAST_EVENT)[0]["id"])

    def listen(self, group: str) -> None:
        """Hear of changes of a group as soon as they are committed."""
        self._database.listen(channel_of(self._database.schema, group))

    def wait_for_news(self, seconds: float) -> bool:
        """Wait for a change of a group that is listened to; false when none came in this time."""
        return self._database.wait_for_news(seconds)

    def jobs(self, group: str | None) -> tuple[JobLine, ...]:
        """Return the schedules of a group with those of its tasks, or all."""
        return tuple(JobLine(**row) for row in self._database.read(store.JOBS, group_id=group))

    def _events(self, group: str | None, since_s: float | None, after: int) -> Rows:
        return self._database.read(
            store.EVENTS, group_id=group, since_s=since_s, after=after, count=store.EVENTS_MAX
        )


class Seen:
    """Numbers of the events that a follower has shown, as far back as others may still appear."""

    __slots__ = ("_ages", "floor")

    def __init__(self, floor: int) -> None:
        self.floor = floor  #: every event up to this number was shown, or is too old to appear
        self._ages: dict[int, float] = {}

    def fresh(self, events: Iterator[EventLine]) -> list[EventLine]:
        """Return those events that were not shown before, and remember them."""
        found = [event for event in events if event.id not in self._ages]
        for event in found:
            self._ages[event.id] = event.at.timestamp()
        newest = max(self._ages.values(), default=0.0)
        old = [number for number, at in self._ages.items() if at < newest - OVERLAP_S]
        self.floor = max([self.floor, *old])
        self._ages = {number: at for number, at in self._ages.items() if number > self.floor}
        return found

"""Reader of all that the page shows, by the readers of the commands, each over its connection.

The commands' own readers ask, so that the page and the terminal never disagree. A connection is
made when its part is first read, and anew after an outage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from coordinator.app.admin.events import EventLine, EventReader, JobLine
from coordinator.app.admin.explain.facts import Explanation
from coordinator.app.admin.explain.reader import Explainer
from coordinator.app.admin.operations.session import Session
from coordinator.app.admin.page.verdict import Sentence, judge
from coordinator.app.admin.status import GroupLine, Status, StatusReader, Takeover
from coordinator.app.admin.task_views import ObserverPage, TaskLine
from coordinator.app.admin.tasks import Tasks
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import DatabaseRefusedError, NotFoundError

T = TypeVar("T")

#: Terms and events of so long are shown: the time before is for `coord history`.
PAST_S = 24 * 3600.0
TERMS_MAX = 300
EVENTS_SHOWN = 100
#: Without news, the parts of a group that change by events alone are read again after so long.
SLOW_S = 5.0
#: Notifications are heard of this many groups at most; the others are seen at the next reading.
LISTENED_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Parts of a group that change by events alone; cut: there are older terms in this time."""

    terms: tuple[Takeover, ...]
    cut: bool
    tasks: tuple[TaskLine, ...]
    observer: ObserverPage | None
    jobs: tuple[JobLine, ...]
    events: tuple[EventLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReading:
    """One group in full; explanation: None if it was deleted meanwhile."""

    group: GroupLine
    verdict: Sentence
    explanation: Explanation | None
    past: Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All groups with their verdicts, and those in full that somebody looks at.

    operations: rows of sys.tasks; None: nobody asked, or this login may not read them.
    """

    status: Status
    verdicts: tuple[Sentence, ...]
    groups: tuple[GroupReading, ...]
    operations: tuple[dict[str, Any], ...] | None


class PageReader:
    """Readers of one database; `only`: the one group that the page is about, or None for all."""

    def __init__(
        self, resolved: Resolved, *, schema: str, timeout_s: float, only: str | None
    ) -> None:
        self._resolved, self._schema, self._timeout_s = resolved, schema, timeout_s
        self._only = only
        self._open: dict[str, Any] = {}
        self._listened: set[str] = set()
        self._past: dict[str, tuple[object, Past]] = {}
        self._operations: tuple[dict[str, Any], ...] | None = None
        self._slow_at = 0.0
        self._shown = False  #: a group was read in full the last time

    def close(self) -> None:
        """Close all connections; the next reading makes them anew."""
        for reader in self._open.values():
            reader.close()
        self._open.clear()
        self._listened.clear()
        self._past.clear()

    def read(self, watched: Iterable[str], now: float, *, news: bool) -> Reading:
        """Read all groups, and those in full that are watched.

        now: of the caller's monotonic clock. news: something has changed since the last reading.
        Errors: those of the readers; the caller closes after one.
        """
        status = self.status()
        self._listen(status.groups)
        known = {group.group: group for group in status.groups}
        shown = [known[name] for name in watched if name in known]
        first = bool(shown) and not self._shown
        self._shown = bool(shown)
        if news or first or now - self._slow_at >= SLOW_S:
            self._past.clear()
            self._slow_at = now
            self._operations = self._read_operations() if shown else None
        full = tuple(self._in_full(group) for group in shown)
        judged = {each.group.group: each.verdict for each in full}
        verdicts = tuple(judged.get(each.group) or judge(each) for each in status.groups)
        return Reading(status=status, verdicts=verdicts, groups=full, operations=self._operations)

    def status(self) -> Status:
        """Return all groups; none while the one that the page is about does not exist yet."""
        reader = self._opened(StatusReader)
        try:
            return reader.status(self._only)
        except NotFoundError:
            return Status(server=reader.server(), groups=())

    def wait_for_news(self, seconds: float) -> bool:
        """Wait for a change of any group; false when none came in this time."""
        return self._opened(EventReader).wait_for_news(seconds)

    # --- inside -----------------------------------------------------------------------------------

    def _in_full(self, group: GroupLine) -> GroupReading:
        try:
            found = self._opened(Explainer).explain(group.group)[0]
        except NotFoundError:  # it was deleted between the two readings
            found = None
        seen = (group.state, group.term, group.holder, group.end_reason)
        before, past = self._past.get(group.group, (None, None))
        if past is None or before != seen:
            past = self._read_past(group)
            self._past[group.group] = (seen, past)
        expected_s = None if found is None else found.expected_s
        verdict = judge(group, expected_s)
        return GroupReading(group=group, verdict=verdict, explanation=found, past=past)

    def _read_past(self, group: GroupLine) -> Past:
        name = group.group
        terms = self._opened(StatusReader).history(name, since_s=PAST_S).takeovers
        events = self._opened(EventReader)
        newest = deque(events.events(name, since_s=PAST_S), maxlen=EVENTS_SHOWN)
        return Past(
            terms=terms[:TERMS_MAX],
            cut=len(terms) > TERMS_MAX,
            tasks=self._opened(Tasks).lines(name) if group.hosts_tasks else (),
            observer=self._opened(Tasks).observer(name) if group.hosts_tasks else None,
            jobs=events.jobs(name),
            events=tuple(newest),
        )

    def _read_operations(self) -> tuple[dict[str, Any], ...] | None:
        try:
            return tuple(self._opened(Session).store.tasks())
        except DatabaseRefusedError:
            return None

    def _listen(self, groups: Iterable[GroupLine]) -> None:
        reader = self._opened(EventReader)
        for group in groups:
            if group.group not in self._listened and len(self._listened) < LISTENED_MAX:
                reader.listen(group.group)
                self._listened.add(group.group)

    def _opened(self, kind: Callable[..., T]) -> T:
        """Return the reader of this kind; its connection is made now if there is none."""
        name = kind.__name__
        if name not in self._open:
            self._open[name] = kind(self._resolved, schema=self._schema, timeout_s=self._timeout_s)
        found: T = self._open[name]
        return found

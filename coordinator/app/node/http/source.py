"""Readings of a node's own group from the database, for its HTTP endpoints."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.app.admin.documents.fields import (
    events_document,
    history_document,
    nodes_document,
    status_document,
)
from coordinator.app.admin.events import EventReader
from coordinator.app.admin.status import GroupLine, History, StatusReader
from coordinator.app.config.database_choice import of_node
from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.http.counting import Counted
from coordinator.app.node.http.reader import Document
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.admin.look.figures import RUNS
from coordinator.web.node.routes import Read
from coordinator.web.node.samples import Figures, Job

#: Seconds that one statement of a reading may take; a scraper waits for ten.
TIMEOUT_S = 2.0
#: The newest terms, and the newest events of the last day.
TAKEOVERS_MAX, EVENTS_MAX, EVENTS_SINCE_S = 100, 1000, 86_400.0
#: Terms whose transactions ended out of their order are still found by the next reading.
OVERLAP_S = 60.0
#: A group has series of so many schedules at most, whatever its tasks are called.
JOBS_MAX = 1000


class GroupSource:
    """Source of the node's group.

    counted: the terms that earlier connections have counted.
    Errors: CoordError, in every call.
    """

    def __init__(self, settings: NodeSettings, counted: Counted) -> None:
        self._group, self._counted = settings.group_id, counted
        resolved = of_node(settings.database)
        schema = settings.database.schema
        self._database = AdminConnection(resolved.conninfo, schema, resolved.label, TIMEOUT_S)
        try:
            self._status = StatusReader.on(self._database, resolved)
            self._events = EventReader.on(self._database, resolved)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def document(self, wanted: Read) -> Document:
        """Return the document of a path."""
        match wanted:
            case Read.HISTORY:
                found = self._status.history(self._group)
                newest = found.takeovers[:TAKEOVERS_MAX]
                return history_document(History(server=found.server, takeovers=newest))
            case Read.EVENTS:
                told = self._events.events(self._group, since_s=EVENTS_SINCE_S)
                newest_events = tuple(told)[-EVENTS_MAX:]
                return events_document(newest_events, self._events.asked())
            case Read.NODES:
                return nodes_document(self._status.status(self._group))
            case _:
                return status_document(self._status.status(self._group))

    def figures(self) -> Figures:
        """Return the figures of the group, and count the terms that are new."""
        (group,) = self._status.status(self._group, primaries=False).groups
        since_s = self._counted.since_s() + OVERLAP_S
        self._counted.add(self._status.history(self._group, since_s=since_s).takeovers)
        runs = self._database.read(RUNS, group_id=self._group, count=JOBS_MAX)
        before = datetime.now(UTC)
        server = self._status.server()
        mine = before + (datetime.now(UTC) - before) / 2
        offset_s = (mine - server.server_time).total_seconds()
        return Figures(
            round_trip_s=server.round_trip_s,
            clock_offset_s=offset_s,
            leaderless_s=group.leaderless_s,
            paused=bool(group.paused),
            standbys=group.standby_count,
            beat_ages_s=_beat_ages_s(group),
            takeovers=dict(self._counted.reasons),
            gaps=self._counted.gaps,
            jobs=tuple(Job(**each) for each in runs),
        )


def _beat_ages_s(group: GroupLine) -> dict[str, float]:
    return {
        node.node: node.beat_age_s
        for node in group.nodes
        if node.state != "ended" and node.beat_age_s is not None
    }

"""List who else could take the token, and tell the others whether this node is ready.

Reading looks over all rows of a group; it is never part of a decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from coordinator.protocol.messages.requests import Answer, Candidate, ReadRoster, TellReady
from coordinator.store.node.group_record import raise_version
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, read, read_committed
from coordinator.store.sql.view import Place, read_view

#: A node that was silent for longer than this many of its own intervals ranks nobody behind it.
SILENT_INTERVALS_MAX = 2

READ_ROSTER: LiteralString = """
SELECT
    node.task_id, coalesce(chosen.value, node.priority) AS priority, {age_s} AS age_s,
    node.heartbeat_ms, coalesce(node.ready, false) AS ready
FROM {schema}.health_check AS node
LEFT JOIN {schema}.planned_change AS chosen
    ON chosen.group_id = node.group_id AND chosen.node = node.task_id
    AND chosen.kind = 'priority' AND chosen.outcome IS NULL
WHERE node.group_id = %(group)s
    AND node.session IS NOT NULL
    AND node.ended_at IS NULL
    AND clock_timestamp() - node.last_heartbeat < %(intervals)s * node.liveness_ms * interval '1 ms'
"""


TELL_READY: LiteralString = """
UPDATE {schema}.health_check
SET ready = %(ready)s
WHERE group_id = %(group)s AND task_id = %(node)s
    AND session = %(mine)s::uuid AND ended_at IS NULL
"""


def carry_out(cursor: Cursor, place: Place, request: ReadRoster | TellReady) -> Answer:
    """Read who could take the token, or tell the others whether this node is ready."""
    if isinstance(request, TellReady):
        return tell_ready(cursor, place, request)
    return read_roster(cursor, place)


def read_roster(cursor: Cursor, place: Place) -> Answer:
    """Name the live nodes of the group."""
    params = place.params(intervals=SILENT_INTERVALS_MAX)
    rows = read(cursor, named(READ_ROSTER, place.schema), params)
    roster = tuple(map(candidate_of, rows))
    return Answer(done=True, view=read_view(cursor, place), roster=roster)


def candidate_of(row: Sequence[Any]) -> Candidate:
    """Return the candidate that a row of READ_ROSTER is of."""
    node, priority, age_s, heartbeat_ms, ready = row
    return Candidate(
        node=node,
        priority=priority,
        age_s=age_s or 0.0,
        heartbeat_s=heartbeat_ms / 1000,
        ready=bool(ready),
    )


def tell_ready(cursor: Cursor, place: Place, request: TellReady) -> Answer:
    """Write the readiness of this session, and notify the group: the others rank by it."""
    params = place.params(mine=request.session, ready=request.ready)

    def body(cursor: Cursor) -> bool:
        cursor.execute(named(TELL_READY, place.schema), params)
        told = cursor.rowcount > 0
        if told:
            raise_version(cursor, place, told=True)
        return told

    done = bool(read_committed(cursor, body))
    return Answer(done=done, view=read_view(cursor, place))

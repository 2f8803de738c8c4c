"""The heartbeat: a node's write that its session lives, and its look at the group (rule O6).

READ COMMITTED and a compare-and-set on the node's own row, as everything in `session`. A heartbeat
that also read under SERIALIZABLE was measured to abort in 7 % of the cases at 40 beats a second,
and in 94 % at saturation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import LiteralString

import psycopg

from coordinator.errors import OutcomeUnknownError
from coordinator.protocol.messages.requests import Answer, Beat, View
from coordinator.protocol.node.state.last_seen import seen_again
from coordinator.store.driver.moments import wall_ms
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, alone
from coordinator.store.sql.view import Place, view_of, watched

#: The heartbeat and the whole view, in one round trip. The view's snapshot is older than the write,
#: so `beat` hands the own new beat out beside it. With it the node tells its clock, for people.
BEAT_AND_LOOK: LiteralString = """
WITH beaten AS (
    UPDATE {schema}.health_check
    SET beat = beat + 1, last_heartbeat = clock_timestamp(), clock_ms = {clock_ms}
    WHERE group_id = %(group)s AND task_id = %(node)s
        AND session = %(mine)s::uuid AND ended_at IS NULL
    RETURNING beat
)
SELECT (SELECT beat FROM beaten), {view_columns} {view_from}
"""

#: The heartbeat while the holder's session lives, and what that shows; no row when either is over.
#: The holder's beat is of the statement's own snapshot; the own one is the new one, and the age
#: counts to it. The interval is compared, so that a beat is judged by the one that it came with.
#: The server process is that which greeted us, or a pooler was taken for a connection of our own.
#: Needs what `view.watched` gives, too.
BEAT_AND_WATCH: LiteralString = """
UPDATE {schema}.health_check AS own
SET beat = own.beat + 1, last_heartbeat = clock_timestamp()
FROM {schema}.health_check AS holder
WHERE own.group_id = %(group)s AND own.task_id = %(node)s
    AND own.session = %(mine)s::uuid AND own.ended_at IS NULL
    AND holder.group_id = %(group)s AND holder.task_id = %(holder)s
    AND holder.session = %(holding)s::uuid AND holder.ended_at IS NULL
    AND holder.liveness_ms = %(holder_ms)s
RETURNING own.beat, holder.beat, date_part('epoch', own.last_heartbeat - holder.last_heartbeat),
    pg_backend_pid()
"""

#: No session: a random uuid is never this one.
NOBODY = "00000000-0000-0000-0000-000000000000"


def beat(
    cursor: Cursor, place: Place, request: Beat, *, known: View | None, prepare: bool
) -> Answer:
    """Say that the session lives; not done when somebody ended it.

    known: the view whose holder alone is watched (rule O6); None: everything is read. When that
           holder's session is over, a second round trip writes the heartbeat and reads everything.
    Errors: OutcomeUnknownError when the connection turns out not to be one's own.
    """
    params = place.params(mine=request.session)
    if known is not None:
        watching = {**params, **watched(known)}
        row = alone(cursor, named(BEAT_AND_WATCH, place.schema), watching, prepare=prepare)
        if row is not None:
            mine, holders, age_s, served_by = row
            if served_by != cursor.connection.info.backend_pid:
                raise OutcomeUnknownError("a pooler led us to another process of a server")
            return _beaten(place, mine, seen_again(known, holders, age_s))
    telling = {**params, "wall_ms": wall_ms()}
    row = alone(cursor, named(BEAT_AND_LOOK, place.schema), telling, prepare=prepare)
    assert row is not None, "a view is one row"
    return _beaten(place, row[0], view_of(row[1:], place.system_identifier))


def _beaten(place: Place, beat: int | None, view: View) -> Answer:
    """Return the answer to a heartbeat; without a beat the session is over."""
    if beat is None:
        return Answer(done=False, view=view)
    if view.token.node == place.node and view.holder is not None:
        view = replace(view, holder=replace(view.holder, beat=beat, age_s=0.0))
    return Answer(done=True, view=view, beat=beat)


def rehearse(cursor: Cursor, place: Place) -> None:
    """Prepare the heartbeat in both forms by beating for nobody, in one round trip.

    A heartbeat that had to be prepared first would take two, at a moment that nobody chose.
    """
    if not psycopg.Pipeline.is_supported():
        return  # before libpq 14
    params = place.params(mine=NOBODY, wall_ms=wall_ms())
    with cursor.connection.pipeline():
        cursor.execute(named(BEAT_AND_LOOK, place.schema), params, prepare=True)
        watching = {**params, "holder": "", "holding": NOBODY, "holder_ms": 0}
        cursor.execute(named(BEAT_AND_WATCH, place.schema), watching, prepare=True)

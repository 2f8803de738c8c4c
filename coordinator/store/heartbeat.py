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
from coordinator.protocol.requests import Answer, Beat, Identity, NodeSeen, TokenSeen, View
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor, alone
from coordinator.store.view import Place, is_held, known_as, look, seen_again, view_of

#: The heartbeat and the whole view, in one round trip. The view's snapshot is older than the write,
#: so `beat` hands the own new beat out beside it.
BEAT: LiteralString = """
WITH beaten AS ({beat})
SELECT (SELECT beat FROM beaten), {view_columns} {view_from}
"""

#: The heartbeat while nothing is new. Whether the known view still stands is found out in the
#: server: that costs it less than to tell the view. The second column is what may differ: beat and
#: age (in milliseconds) of the holder, and the group's version; NULL when something else has
#: changed; empty when this is not the server that is known. Needs what `view.known_as` gives, too.
BEAT_IF_KNOWN: LiteralString = """
{beat}, CASE
    WHEN {started_at} <> %(started_at)s OR {timeline} <> %(timeline)s THEN ARRAY[]::bigint[]
    WHEN EXISTS (
        SELECT FROM {schema}.token_holder
        WHERE group_id = %(token)s AND term = %(term)s AND term_floor = %(term_floor)s
            AND task_id = %(holder)s AND session = %(holding)s::uuid
    )
    THEN (
        SELECT ARRAY[
            node.beat,
            (1000 * {age_s})::bigint,
            (SELECT version FROM {schema}.group_record WHERE group_id = %(group)s)
        ]
        FROM {schema}.health_check AS node
        WHERE node.group_id = %(group)s AND node.task_id = %(holder)s
            AND node.session = %(holding)s::uuid AND node.ended_at IS NULL
            AND node.liveness_ms = %(liveness_ms)s AND node.heartbeat_ms = %(heartbeat_ms)s
            AND coalesce(node.host || ':' || node.pid, '') = %(where)s
    )
END
"""

#: No session: a random uuid is never this one.
NOBODY = "00000000-0000-0000-0000-000000000000"
#: A view of a held token that no database shows.
NOTHING = View(
    identity=Identity(system_identifier=0, timeline=0, started_at=0),
    settled=True,
    token=TokenSeen(term=0, node="", session=NOBODY, term_floor=0),
    holder=NodeSeen(session=NOBODY, beat=0, liveness_s=0.0, ended=False, age_s=0.0),
    group_version=0,
    longest_liveness_s=0.0,
)


def beat(
    cursor: Cursor, place: Place, request: Beat, *, known: View | None, prepare: bool
) -> Answer:
    """Say that the session lives; not done when somebody ended it.

    known: what the node was shown last, where it may be asked whether that still stands. When it
           does not, the view is read after the heartbeat, in a transaction of its own.
    Errors: OutcomeUnknownError, also when heartbeat and view came from different servers.
    """
    params = place.params(mine=request.session)
    if known is not None and is_held(known):
        statement = named(BEAT_IF_KNOWN, place.schema)
        row = alone(cursor, statement, {**params, **known_as(known)}, prepare=prepare)
        if row is not None:
            return _beaten(place, row[0], _as_told(cursor, place, known, row[1]))
        # The session is over, or that was another server: whoever answers now says all of it.
    row = alone(cursor, named(BEAT, place.schema), params, prepare=prepare)
    assert row is not None, "a view is one row"
    return _beaten(place, row[0], view_of(row[1:], place.system_identifier))


def _as_told(cursor: Cursor, place: Place, known: View, told: list[int] | None) -> View:
    """Return the view after a heartbeat that was written, by the second column of its answer."""
    if told:
        return seen_again(known, *told)
    view = look(cursor, place) if told is None else None
    if view is None or view.identity != known.identity:
        raise OutcomeUnknownError("a pooler led us to another server")
    return view


def _beaten(place: Place, beat: int | None, view: View) -> Answer:
    """Return the answer to a heartbeat; without a beat the session is over."""
    if beat is None:
        return Answer(done=False, view=view)
    if view.token.node == place.node and view.holder is not None:
        view = replace(view, holder=replace(view.holder, beat=beat, age_s=0.0))
    return Answer(done=True, view=view)


def rehearse(cursor: Cursor, place: Place) -> None:
    """Prepare the heartbeat in both forms by beating for nobody, in one round trip.

    A heartbeat that had to be prepared first would take two, at a moment that nobody chose.
    """
    if not psycopg.Pipeline.is_supported():
        return  # before libpq 14
    params = place.params(mine=NOBODY)
    with cursor.connection.pipeline():
        cursor.execute(named(BEAT, place.schema), params, prepare=True)
        known = {**params, **known_as(NOTHING)}
        cursor.execute(named(BEAT_IF_KNOWN, place.schema), known, prepare=True)

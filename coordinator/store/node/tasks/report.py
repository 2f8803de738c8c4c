"""Reports of a node about its tasks and itself, for people; no token depends on them."""

from __future__ import annotations

from typing import LiteralString

from coordinator.protocol.messages.group_record import token_name
from coordinator.protocol.messages.requests import Answer, View
from coordinator.protocol.messages.task_requests import CatchUp, ReportTasks
from coordinator.store.node.group_record import raise_version
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, read_committed
from coordinator.store.sql.view import Place, read_view

#: Letters of an error that are kept; the whole text is in the node's log.
ERROR_TEXT_MAX = 1000

#: Not a part of the heartbeat, which carries nothing else.
TELL_SEEN: LiteralString = """
UPDATE {schema}.health_check
SET seen_version = %(version)s
WHERE group_id = %(group)s AND task_id = %(node)s
    AND session = %(mine)s::uuid AND ended_at IS NULL
"""

#: All transactions lock these rows in the order of the names. Nothing is kept of a deleted task. A
#: report without an error keeps the one of the same term: a schedule's runs write their own.
TELL_TASKS: LiteralString = """
INSERT INTO {schema}.task_node AS known (group_id, task, node, state, term, error, told_at)
SELECT %(group)s, told.task, %(node)s, told.state, told.term, told.error, clock_timestamp()
FROM unnest(
    %(tasks)s::text[], %(states)s::text[], %(terms)s::bigint[], %(errors)s::text[]
) AS told (task, state, term, error)
JOIN {schema}.task AS task
    ON task.group_id = %(group)s AND task.name = told.task AND NOT task.deleted
ORDER BY told.task
ON CONFLICT (group_id, task, node) DO UPDATE
SET state = excluded.state,
    term = excluded.term,
    error = CASE
        WHEN excluded.error = '' AND excluded.term = known.term THEN known.error
        ELSE excluded.error
    END,
    told_at = excluded.told_at
"""

NOTE_TASKS: LiteralString = """
INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
SELECT told.token, told.kind, %(node)s, %(mine)s::uuid, told.term, told.reason, %(node)s
FROM unnest(
    %(tokens)s::text[], %(kinds)s::text[], %(terms)s::bigint[], %(reasons)s::text[]
) AS told (token, kind, term, reason)
"""

#: The mentor's row is not locked: that it ends at this moment does no harm, and two locks on
#: sessions in another order than the observer's would meet it in a deadlock.
CATCH_UP: LiteralString = """
UPDATE {schema}.health_check AS pupil
SET caught_up = true
WHERE pupil.group_id = %(group)s AND pupil.task_id = %(pupil)s
    AND pupil.session = %(pupil_session)s::uuid AND pupil.ended_at IS NULL
    AND NOT pupil.caught_up
    AND CASE
        WHEN pupil.task_id = %(node)s THEN NOT EXISTS (
            SELECT
            FROM {schema}.health_check AS member
            WHERE member.group_id = %(group)s AND member.standing = 'member'
                AND member.session IS NOT NULL AND member.ended_at IS NULL
                AND member.priority > 0
        )
        ELSE pupil.seen_version >= %(version)s AND EXISTS (
            SELECT
            FROM {schema}.health_check AS mentor
            WHERE mentor.group_id = %(group)s AND mentor.task_id = %(node)s
                AND mentor.session = %(mine)s::uuid AND mentor.ended_at IS NULL
                AND mentor.standing = 'member'
        )
    END
"""

OWN_SESSION_LIVES: LiteralString = """
SELECT
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.task_id = %(node)s
    AND node.session = %(mine)s::uuid AND node.ended_at IS NULL
"""

NOTE_CAUGHT_UP: LiteralString = """
INSERT INTO {schema}.event (group_id, kind, task_id, session, reason, who)
VALUES (
    %(group)s, 'caught-up', %(pupil)s, %(pupil_session)s::uuid,
    'acts on version ' || %(version)s::text || ' of the record', %(node)s
)
"""


def tell_tasks(cursor: Cursor, place: Place, request: ReportTasks) -> Answer:
    """Write down the reports; not done without a session."""
    # The last report of each task counts; each note is an event.
    last = {told.task: told for told in request.told if told.state}
    notes = [told for told in request.told if told.note]
    words = place.params(
        tasks=list(last),
        states=[told.state for told in last.values()],
        terms=[told.term for told in last.values()],
        errors=[told.error[:ERROR_TEXT_MAX] for told in last.values()],
    )
    events = place.params(
        mine=request.session,
        tokens=[token_name(place.group, told.task) for told in notes],
        kinds=[told.note for told in notes],
        terms=[told.term for told in notes],
        reasons=[told.error[:ERROR_TEXT_MAX] for told in notes],
    )

    def body(cursor: Cursor) -> View | None:
        seen = place.params(mine=request.session, version=request.version)
        cursor.execute(named(TELL_SEEN, place.schema), seen)
        if cursor.rowcount == 0:
            return None
        if last:
            cursor.execute(named(TELL_TASKS, place.schema), words)
        if notes:
            cursor.execute(named(NOTE_TASKS, place.schema), events)
        return read_view(cursor, place)

    view = read_committed(cursor, body)
    if view is None:
        return Answer(done=False, view=read_view(cursor, place))
    return Answer(done=True, view=view)


def catch_up(cursor: Cursor, place: Place, request: CatchUp) -> Answer:
    """Mark a pupil's session as caught up; the version rises when it was not."""
    params = place.params(
        mine=request.session,
        version=request.version,
        pupil=request.pupil,
        pupil_session=request.pupil_session,
    )

    def body(cursor: Cursor) -> View | None:
        cursor.execute(named(OWN_SESSION_LIVES, place.schema), params)
        if cursor.fetchone() is None:
            return None
        cursor.execute(named(CATCH_UP, place.schema), params)
        if cursor.rowcount:
            cursor.execute(named(NOTE_CAUGHT_UP, place.schema), params)
            raise_version(cursor, place)
        return read_view(cursor, place)

    view = read_committed(cursor, body)
    if view is None:
        return Answer(done=False, view=read_view(cursor, place))
    return Answer(done=True, view=view)

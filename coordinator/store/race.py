"""Who gets the token: take and release.

A takeover, told in order:
  1. the taker's own session lives, and says so (a beat);
  2. the session that was seen silent is ended, if it still shows the beat that was seen: the one
     row conflict that decides between a late heartbeat and a takeover;
  3. the token is taken, if it is as it was seen, free by now, and the database's epoch is settled;
  4. history and event are written, the group is told.
A "no" at any step rolls all of it back: no session is ended without its token being taken.

Each step is a compare-and-set by key on a row that exists; they exclude each other at every
isolation level. SERIALIZABLE is the second belt.
"""

from __future__ import annotations

from typing import LiteralString

from coordinator.protocol.requests import Answer, Release, Take, View
from coordinator.store import observer
from coordinator.store.fence import push_fences_aside, terminate_fence_holders
from coordinator.store.group import raise_version
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor, Pause, read_committed, serializable
from coordinator.store.view import Place, read_view

OWN_SESSION_LIVES: LiteralString = """
UPDATE {schema}.health_check
SET beat = beat + 1, last_heartbeat = clock_timestamp()
WHERE group_id = %(group)s AND task_id = %(node)s
    AND session = %(mine)s::uuid AND ended_at IS NULL
"""

END_SEEN_SESSION: LiteralString = """
UPDATE {schema}.health_check
SET ended_at = clock_timestamp(), end_reason = %(reason)s, standing = {standing_after_end}
WHERE group_id = %(group)s AND task_id = %(seen_node)s
    AND session = %(seen)s::uuid
    AND beat = %(seen_beat)s  -- one more beat and it lives
    AND ended_at IS NULL
RETURNING standing
"""

READ_STANDING: LiteralString = """
SELECT standing FROM {schema}.health_check
WHERE group_id = %(group)s AND task_id = %(seen_node)s
"""

#: Reads how long nobody was active, before the row changes; no row when the token has moved on.
LOCK_HOLDER: LiteralString = """
SELECT (1000 * extract(epoch FROM clock_timestamp() - coalesce(
        CASE WHEN token.session IS NULL THEN token.released_at END, node.last_heartbeat
    )))::bigint
FROM {schema}.token_holder AS token
LEFT JOIN {schema}.health_check AS node
    ON node.group_id = %(group)s
    AND node.task_id = token.task_id
    AND node.session = token.session
WHERE token.group_id = %(token)s
    AND token.term = %(seen_term)s
    AND token.session IS NOT DISTINCT FROM %(seen)s::uuid
FOR UPDATE OF token
"""
#: No row for a locked one either, so that a fence is met at once and not after lock_timeout.
LOCK_HOLDER_AT_ONCE: LiteralString = LOCK_HOLDER + " SKIP LOCKED"

#: The term never falls behind what the asker computed, what any node remembers, or the row.
TAKE: LiteralString = """
UPDATE {schema}.token_holder AS token
SET task_id = %(node)s,
    session = %(mine)s::uuid,
    term = greatest(%(next_term)s::bigint, token.term_floor + 1, token.term + 1),
    acquired_at = clock_timestamp(),
    released_at = NULL
WHERE token.group_id = %(token)s
    AND token.term = %(seen_term)s
    AND token.session IS NOT DISTINCT FROM %(seen)s::uuid
    AND (
        token.session IS NULL
        OR NOT EXISTS (
            SELECT FROM {schema}.health_check AS node
            WHERE node.group_id = %(group)s
                AND node.task_id = token.task_id
                AND node.session = token.session
                AND node.ended_at IS NULL
        )
    )
    AND {settled_here}
RETURNING token.term
"""

RECORD_TAKING: LiteralString = """
WITH closed AS (
    UPDATE {schema}.token_history
    SET ended_at = clock_timestamp(), end_how = %(end_how)s, end_reason = %(reason)s
    WHERE group_id = %(token)s AND term = %(seen_term)s AND ended_at IS NULL
), opened AS (
    INSERT INTO {schema}.token_history (
        group_id, term, task_id, session, acquired_at, how, reason,
        from_task, gap_ms, detected_ms
    )
    VALUES (
        %(token)s, %(term)s, %(node)s, %(mine)s::uuid, clock_timestamp(), %(how)s, %(reason)s,
        %(seen_node)s, greatest(0, %(gap_ms)s::bigint), %(detected_ms)s
    )
), noted AS (
    INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
    VALUES (%(token)s, 'taken', %(node)s, %(mine)s::uuid, %(term)s, %(reason)s, %(node)s)
)
SELECT pg_notify(%(channel)s, json_build_object(
    'kind', 'taken', 'node', %(node)s::text, 'term', %(term)s::bigint
)::text)
"""

#: One term of the group's token, or, with term NULL, whatever the session holds. Of the tokens of
#: tasks the group is told once: the server drops a notification that repeats another.
GIVE_BACK: LiteralString = """
WITH given AS (
    UPDATE {schema}.token_holder
    SET session = NULL, released_at = clock_timestamp()
    WHERE session = %(mine)s::uuid
        AND (%(term)s::bigint IS NULL OR group_id = %(token)s AND term = %(term)s::bigint)
    RETURNING group_id, task_id, term
), closed AS (
    UPDATE {schema}.token_history AS held
    SET ended_at = clock_timestamp(), end_how = 'release', end_reason = %(reason)s
    FROM given
    WHERE held.group_id = given.group_id AND held.term = given.term AND held.ended_at IS NULL
), noted AS (
    INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
    SELECT group_id, 'released', task_id, %(mine)s::uuid, term, %(reason)s, %(node)s FROM given
)
SELECT pg_notify(%(channel)s, CASE
    WHEN group_id = %(token)s
        THEN json_build_object('kind', 'released', 'node', task_id, 'term', term)
    ELSE json_build_object('kind', 'freed')
END::text)
FROM given
"""


class _FenceMetError(Exception):
    """The token row is locked by a fence or a faster taker, or the token has moved on."""


def take(cursor: Cursor, place: Place, request: Take, *, deadline: float, pause: Pause) -> Answer:
    """Take the token as it was seen; not done when anything is no longer as it was seen.

    Units:  deadline on time.monotonic().
    Errors: LockNotAvailable when a fence of another role stays; as `serializable` else.
    """

    def at_once(cursor: Cursor) -> tuple[int, View] | None:
        return _take_once(cursor, place, request, LOCK_HOLDER_AT_ONCE)

    def patiently(cursor: Cursor) -> tuple[int, View] | None:
        return _take_once(cursor, place, request, LOCK_HOLDER)

    try:
        taken = serializable(cursor, at_once, deadline=deadline, pause=pause)
    except _FenceMetError:
        # Outside the transaction, whose snapshot may be older than a faster taker's fence.
        ended_count = terminate_fence_holders(
            cursor,
            place,
            seen_term=request.seen_term,
            seen_session=request.seen_session,
            seen_beat=request.seen_beat,
            mine=request.session,
        )
        view = read_view(cursor, place)
        if ended_count == 0 and (view.token.term, view.token.session) != (
            request.seen_term,
            request.seen_session,
        ):
            return Answer(done=False, view=view)  # a faster taker, and its fence is its own
        taken = serializable(cursor, patiently, deadline=deadline, pause=pause)
    if taken is None:
        return Answer(done=False, view=read_view(cursor, place))
    term, view = taken
    return Answer(done=True, view=view, term=term)


def release(cursor: Cursor, place: Place, request: Release) -> Answer:
    """Give the token back and tell the group; not done when it was not held any more."""
    params = place.params(mine=request.session, term=request.term, reason=request.reason)

    def body(cursor: Cursor) -> View | None:
        push_fences_aside(cursor, place, request.session, [place.token])
        cursor.execute(named(GIVE_BACK, place.schema), params)
        return read_view(cursor, place) if cursor.rowcount else None

    view = read_committed(cursor, body)
    if view is None:
        return Answer(done=False, view=read_view(cursor, place))
    return Answer(done=True, view=view)


def _take_once(
    cursor: Cursor, place: Place, request: Take, lock: LiteralString
) -> tuple[int, View] | None:
    """Take the token inside an open transaction; None as soon as one step is not done."""
    params = place.params(
        mine=request.session,
        seen=request.seen_session,
        seen_node=request.seen_node,
        seen_beat=request.seen_beat,
        seen_term=request.seen_term,
        next_term=request.next_term,
        timeline=request.timeline,
        reason=request.reason,
    )
    if not _wrote_one(cursor, named(OWN_SESSION_LIVES, place.schema), params):
        return None
    seen_alive = request.seen_session is not None and request.seen_beat is not None
    ended = _end_seen(cursor, place, request, params) if seen_alive else None
    if seen_alive and ended is None:
        return None
    cursor.execute(named(lock, place.schema), params)
    locked = cursor.fetchone()
    if locked is None and lock is LOCK_HOLDER_AT_ONCE:
        raise _FenceMetError
    if locked is None:
        return None
    if not _wrote_one(cursor, named(TAKE, place.schema), params):
        return None
    taken = cursor.fetchone()
    assert taken is not None, "TAKE returns the row that it wrote"
    recorded = {
        "term": taken[0],
        "how": request.how,
        "gap_ms": locked[0],
        "detected_ms": round(request.detected_s * 1000),
        "end_how": "takeover" if seen_alive else "session ended",
    }
    cursor.execute(named(RECORD_TAKING, place.schema), {**params, **recorded})
    if ended is not None and place.hosts_tasks:
        version = raise_version(cursor, place)
        observer.record(cursor, place, [ended], version=version, term=taken[0])
    return taken[0], read_view(cursor, place)


def _end_seen(
    cursor: Cursor, place: Place, request: Take, params: dict[str, object]
) -> observer.Made | None:
    """End the silent session of the holder; None when it beat once more.

    Where tasks are spread, that is the first decision of the observer to be.
    """
    before = None
    if place.hosts_tasks:
        cursor.execute(named(READ_STANDING, place.schema), params)
        before = cursor.fetchone()
    if not _wrote_one(cursor, named(END_SEEN_SESSION, place.schema), params):
        return None
    after = cursor.fetchone()
    assert after is not None, "END_SEEN_SESSION returns the row that it wrote"
    return observer.Made(
        kind="ended",
        node=str(request.seen_node),
        session=str(request.seen_session),
        before=(before or after)[0],
        after=after[0],
        reason=request.reason,
    )


def _wrote_one(cursor: Cursor, statement: bytes, params: dict[str, object]) -> bool:
    """Run a compare-and-set by key and tell whether it met its row."""
    cursor.execute(statement, params)
    assert cursor.rowcount in (0, 1), "a key names one row"
    return cursor.rowcount == 1

"""Take and release the token.

A takeover, told in order:
  1. the taker's own session lives, and says so (a beat);
  2. the session that was seen silent is ended, if it still shows the beat that was seen: the one
     row conflict that decides between a late heartbeat and a takeover;
  3. the token is taken, if it is as it was seen, free by now, and the database's epoch is settled;
  4. history and event are written, the group is told.
A "no" at any step rolls all of it back: no session is ended without its token being taken.

Each step is a compare-and-set by key on a row that exists; they exclude each other at every
isolation level. SERIALIZABLE is a backstop. All steps are one call of a function of the
schema, for over a slow path one message for each step would outlast the watch for silent sessions;
COMMIT is sent only when the answer to that call says yes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import LiteralString

from coordinator.protocol.messages.requests import Answer, Release, Take
from coordinator.store.node.fence_locks import push_fences_aside, terminate_fence_holders
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import (
    ABORTED,
    Cursor,
    Params,
    Pause,
    Row,
    alone,
    read_committed,
    serializable,
)
from coordinator.store.sql.view import Place, read_view, view_of

#: Answers with: passed_over (the token is locked, or has moved on), term, view. A term is the yes.
#: Unless `waits`, a locked row is passed over, so that a fence is met at once and not after
#: lock_timeout.
TAKE: LiteralString = """
SELECT * FROM {schema}.coord_take(
    p_system => %(system)s::bigint,
    p_branch => %(branch)s::uuid,
    p_group => %(group)s,
    p_token => %(token)s,
    p_node => %(node)s,
    p_mine => %(mine)s,
    p_seen_node => %(seen_node)s,
    p_seen => %(seen)s,
    p_seen_beat => %(seen_beat)s::bigint,
    p_seen_term => %(seen_term)s::bigint,
    p_next_term => %(next_term)s::bigint,
    p_how => %(how)s,
    p_reason => %(reason)s,
    p_detected_ms => %(detected_ms)s::bigint,
    p_channel => %(channel)s,
    p_hosts_tasks => %(hosts_tasks)s,
    p_waits => %(waits)s
)
"""

#: Answers with: passed_over (nothing was written, for the token is locked), done, view. `waits` as
#: above.
RELEASE: LiteralString = """
SELECT * FROM {schema}.coord_release(
    p_system => %(system)s::bigint,
    p_group => %(group)s,
    p_token => %(token)s,
    p_node => %(node)s,
    p_mine => %(mine)s,
    p_term => %(term)s::bigint,
    p_reason => %(reason)s,
    p_channel => %(channel)s,
    p_waits => %(waits)s,
    p_ended_term => %(term)s::bigint,
    p_ended_ms => %(ended_ms)s::bigint
)
"""

#: Those of the tokens without a saved state. Read in a transaction of its own, behind that of the
#: taking: no older holder can save a state any more (Y1), so a program that begins under such a
#: term needs no reading of one.
STATELESS: LiteralString = """
SELECT coalesce(array_agg(wanted.token), ARRAY[]::text[])
FROM unnest(%(tokens)s::text[]) AS wanted (token)
WHERE NOT EXISTS (SELECT FROM {schema}.token_state AS saved WHERE saved.group_id = wanted.token)
"""


def take(cursor: Cursor, place: Place, request: Take, *, deadline: float, pause: Pause) -> Answer:
    """Take the token as it was seen; not done when anything is no longer as it was seen.

    Nor when others made it fail to serialize in every try: it was rolled back for certain.

    Units:  deadline on time.monotonic().
    Errors: LockNotAvailable when a fence of another role stays; as `serializable` else.
    """
    try:
        return _take(cursor, place, request, deadline=deadline, pause=pause)
    except ABORTED:
        return Answer(done=False, view=read_view(cursor, place))


def _take(cursor: Cursor, place: Place, request: Take, *, deadline: float, pause: Pause) -> Answer:
    """Do the same; errors as `serializable`."""

    def attempt(*, waits: bool) -> tuple[Row, Row | None]:
        return serializable(
            cursor,
            named(TAKE, place.schema),
            {**_take_params(place, request, waits=waits), "tokens": [place.token]},
            agreed=_has_term,
            afterwards=named(STATELESS, place.schema),
            deadline=deadline,
            pause=pause,
        )

    (passed_over, term, view), after = attempt(waits=False)
    if passed_over:
        # Outside the transaction, whose snapshot may be older than a faster taker's fence.
        ended_count = terminate_fence_holders(
            cursor,
            place,
            seen_term=request.seen_term,
            seen_session=request.seen_session,
            seen_beat=request.seen_beat,
            mine=request.session,
        )
        now = read_view(cursor, place)
        if ended_count == 0 and (now.token.term, now.token.session) != (
            request.seen_term,
            request.seen_session,
        ):
            return Answer(done=False, view=now)  # a faster taker, and its fence is its own
        (_, term, view), after = attempt(waits=True)
    if term is None or after is None:
        return Answer(done=False, view=read_view(cursor, place))
    return Answer(
        done=True,
        view=view_of(view, place.system_identifier),
        term=term,
        stateless=tuple((token, term) for token in after[0]),
    )


def without_state(
    cursor: Cursor, place: Place, taken: Mapping[str, int]
) -> tuple[tuple[str, int], ...]:
    """Return those of the taken tokens, with their terms, for which no state was saved so far.

    Errors: OutcomeUnknownError when the answer was lost, as if that of the taking were.
    """
    row = alone(cursor, named(STATELESS, place.schema), {"tokens": list(taken)}, prepare=False)
    assert row is not None, "an aggregate answers with one row"
    return tuple((token, taken[token]) for token in row[0])


def release(cursor: Cursor, place: Place, request: Release) -> Answer:
    """Give the token back and tell the group; not done when it was not held any more."""
    params = place.params(
        mine=request.session,
        term=request.term,
        reason=request.reason,
        ended_ms=round(request.ended_s * 1000),
    )

    def push_aside(cursor: Cursor) -> None:
        push_fences_aside(cursor, place, request.session, [place.token])

    return give_back(cursor, place, named(RELEASE, place.schema), params, push_aside)


def give_back(
    cursor: Cursor,
    place: Place,
    statement: bytes,
    params: Params,
    push_aside: Callable[[Cursor], None],
) -> Answer:
    """Run RELEASE or the like; where a token is locked, once more behind what pushes fences aside.

    READ COMMITTED both times. A "no" has written nothing, so the server may commit it at once.
    """

    def patiently(cursor: Cursor) -> Row | None:
        push_aside(cursor)
        return cursor.execute(statement, {**params, "waits": True}).fetchone()

    row: Row | None = alone(cursor, statement, {**params, "waits": False}, prepare=False)
    if row is not None and row[0]:
        row = read_committed(cursor, patiently)
    assert row is not None, "such a statement answers with one row"
    _, done, view = row
    return Answer(done=done, view=view_of(view, place.system_identifier))


def _take_params(place: Place, request: Take, *, waits: bool) -> dict[str, object]:
    return place.params(
        mine=request.session,
        seen=request.seen_session,
        seen_node=request.seen_node,
        seen_beat=request.seen_beat,
        seen_term=request.seen_term,
        next_term=request.next_term,
        branch=request.branch or None,
        how=request.how,
        reason=request.reason,
        detected_ms=round(request.detected_s * 1000),
        waits=waits,
    )


def _has_term(row: Row) -> bool:
    """Agree to a take that has got a term."""
    return row[1] is not None

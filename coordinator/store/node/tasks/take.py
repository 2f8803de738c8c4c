"""Tokens of tasks that are taken: many of them in one transaction.

A taking, told in order:
  1. the taker's own session lives and is a Member's, and says so (a beat); its row stays locked,
     so nobody ends it or changes its standing before the tokens are its own;
  2. the group's version is still the one that the taker decided on, and stays it until the commit:
     a reader of a later version sees the tokens taken on this one;
  3. of the wanted tokens, those that are free under the term that was seen are locked; a row that
     somebody else has locked is passed over;
  4. they get their new terms, history and events in the same statement.

READ COMMITTED, because one row decides about one token: its term rises with each holding, and a
session that was ended never lives again. So an old snapshot may miss a token that is free, and
never finds one free that is not (docs/adr/0007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, LiteralString

from coordinator.protocol.messages.group_record import token_name
from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.messages.task_requests import RaiseTaskFloors, TakeTasks
from coordinator.store.node.race import without_state
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, read_committed, write
from coordinator.store.sql.view import Place, read_view

#: Heartbeat of a live Member; H1 rests on this condition.
OWN_MEMBER_LIVES: LiteralString = """
UPDATE {schema}.health_check
SET beat = beat + 1, last_heartbeat = clock_timestamp()
WHERE group_id = %(group)s AND task_id = %(node)s
    AND session = %(mine)s::uuid AND ended_at IS NULL
    AND standing = 'member'
"""

#: Answers with what the terms are never below; NULL where nothing may be taken.
DECIDED_ON: LiteralString = """
SELECT {schema}.coord_term_clock(%(system)s::bigint, %(branch)s::uuid, record.group_id)
FROM {schema}.group_record AS record
WHERE record.group_id = %(group)s AND record.version = %(version)s
FOR SHARE OF record
"""

#: Rows that a compare-and-set needs; made beforehand, usually when the task was added.
ENSURE_TOKENS: LiteralString = """
INSERT INTO {schema}.token_holder (group_id)
SELECT wanted.token FROM unnest(%(tokens)s::text[]) AS wanted (token)
ORDER BY wanted.token
ON CONFLICT DO NOTHING
"""

#: The locked row is read anew, so its term is compared with what is committed; the holder's is
#: read in the statement's snapshot, where an ended session stays ended for ever.
TAKE_TASKS: LiteralString = """
WITH free AS (
    SELECT
        token.group_id, wanted.task, wanted.seen_term, wanted.next_term,
        token.task_id AS from_node, token.session AS from_session,
        holder.last_heartbeat AS active_until
    {free_tokens}
    ORDER BY token.group_id
    FOR UPDATE OF token SKIP LOCKED
)
UPDATE {schema}.token_holder AS token
SET task_id = %(node)s,
    session = %(mine)s::uuid,
    term = {schema}.coord_granted_term(
        token.group_id, free.next_term, token.term_floor, token.term, %(clock_ms)s::bigint
    ),
    acquired_at = clock_timestamp(),
    released_at = NULL,
    taken_version = %(version)s,
    base_version = %(version)s,
    base_node = CASE
        WHEN token.base_version = %(version)s THEN token.base_node ELSE token.task_id
    END,
    base_taken_version = CASE
        WHEN token.base_version = %(version)s THEN token.base_taken_version
    END
FROM free
WHERE token.group_id = free.group_id AND token.term = free.seen_term
RETURNING
    token.group_id, free.task, token.term, free.seen_term, free.from_node, free.active_until,
    CASE
        WHEN free.from_node IS NULL THEN 'first'
        WHEN free.from_session IS NULL THEN 'release'
        ELSE 'takeover'
    END
"""

RECORD_TASKS: LiteralString = """
WITH taken AS (
    SELECT
        taken.*,
        CASE taken.how
            WHEN 'first' THEN 'nobody ever held it'
            WHEN 'release' THEN coalesce(before.end_reason, 'it was released')
            ELSE 'the session of ' || taken.from_node || ' had ended'
        END AS reason
    FROM unnest(
        %(tokens)s::text[], %(terms)s::bigint[], %(seen_terms)s::bigint[], %(from_nodes)s::text[],
        %(active_until)s::timestamptz[], %(hows)s::text[]
    ) AS taken (token, term, seen_term, from_node, active_until, how)
    LEFT JOIN {schema}.token_history AS before
        ON before.group_id = taken.token AND before.term = taken.seen_term
), closed AS (
    UPDATE {schema}.token_history AS held
    SET ended_at = clock_timestamp(),
        active_until = coalesce(held.active_until, taken.active_until),
        end_how = 'session ended',
        end_reason = coalesce(held.end_reason, taken.reason)
    FROM taken
    WHERE held.group_id = taken.token AND held.term = taken.seen_term AND held.ended_at IS NULL
), opened AS (
    INSERT INTO {schema}.token_history (
        group_id, term, task_id, session, acquired_at, how, reason, from_task
    )
    SELECT token, term, %(node)s, %(mine)s::uuid, clock_timestamp(), how, reason, from_node
    FROM taken
)
INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
SELECT token, 'taken', %(node)s, %(mine)s::uuid, term, reason, %(node)s FROM taken
"""

#: Of tokens that are free as they were seen and were not taken: a fence of their dead holder has
#: locked them. Only backends of the same role: for others we have no right.
TERMINATE_TASK_FENCES: LiteralString = """
SELECT count(pg_terminate_backend(backend.pid))
FROM pg_stat_activity AS backend
WHERE backend.usename = current_user
    AND backend.pid <> pg_backend_pid()
    AND EXISTS (SELECT {free_tokens} AND {holds_fence})
"""

RAISE_TASK_FLOORS: LiteralString = """
WITH lower AS (
    SELECT token.group_id, known.term
    FROM unnest(%(tokens)s::text[], %(terms)s::bigint[]) AS known (token, term)
    JOIN {schema}.token_holder AS token ON token.group_id = known.token
    WHERE token.term_floor < known.term
    ORDER BY token.group_id
    FOR UPDATE OF token
)
UPDATE {schema}.token_holder AS token
SET term_floor = greatest(token.term_floor, lower.term)
FROM lower
WHERE token.group_id = lower.group_id
"""


def take_tasks(cursor: Cursor, place: Place, request: TakeTasks) -> Answer:
    """Take what is free as it was seen; not done when the asker may take nothing at all."""
    params = _wanted(place, request)
    if any(wanted.seen_term == 0 for wanted in request.wanted):
        write(cursor, named(ENSURE_TOKENS, place.schema), params)

    def body(cursor: Cursor) -> Answer | None:
        cursor.execute(named(OWN_MEMBER_LIVES, place.schema), params)
        if cursor.rowcount == 0:
            return None
        cursor.execute(named(DECIDED_ON, place.schema), params)
        decided_on = cursor.fetchone()
        if decided_on is None or decided_on[0] is None:
            return None
        taking = {**params, "clock_ms": decided_on[0]}
        cursor.execute(named(TAKE_TASKS, place.schema), taking)
        taken = cursor.fetchall()
        if taken:
            _record(cursor, place, request, taken)
        won = tuple((task, term) for _, task, term, *_ in taken)
        return Answer(done=True, view=read_view(cursor, place), taken=won)

    answer = read_committed(cursor, body)
    if answer is None:
        return Answer(done=False, view=read_view(cursor, place))
    if len(answer.taken) < len(request.wanted):
        # Outside the transaction, so that what a faster taker has committed is seen.
        cursor.execute(named(TERMINATE_TASK_FENCES, place.schema), params)
    if not answer.taken:
        return answer
    terms = {token_name(place.group, task): term for task, term in answer.taken}
    return replace(answer, stateless=without_state(cursor, place, terms))


def raise_task_floors(cursor: Cursor, place: Place, request: RaiseTaskFloors) -> Answer:
    """Let no later term of these tokens be at or below one that this node remembers."""
    params = place.params(
        tokens=[token_name(place.group, task) for task, _ in request.floors],
        terms=[term for _, term in request.floors],
    )
    write(cursor, named(ENSURE_TOKENS, place.schema), params)
    write(cursor, named(RAISE_TASK_FLOORS, place.schema), params)
    return Answer(done=True, view=read_view(cursor, place))


def _wanted(place: Place, request: TakeTasks) -> dict[str, object]:
    wanted = request.wanted
    return place.params(
        schema=place.schema,
        mine=request.session,
        version=request.version,
        branch=request.branch or None,
        tokens=[token_name(place.group, one.task) for one in wanted],
        tasks=[one.task for one in wanted],
        seen_terms=[one.seen_term for one in wanted],
        next_terms=[one.next_term for one in wanted],
    )


def _record(
    cursor: Cursor, place: Place, request: TakeTasks, taken: Sequence[Sequence[Any]]
) -> None:
    """Write history and events, in a statement of its own: a policy looks the terms up."""
    columns = map(list, zip(*taken, strict=True))
    tokens, _, terms, seen_terms, from_nodes, active_until, hows = columns
    params = place.params(
        mine=request.session,
        tokens=tokens,
        terms=terms,
        seen_terms=seen_terms,
        from_nodes=from_nodes,
        active_until=active_until,
        hows=hows,
    )
    cursor.execute(named(RECORD_TASKS, place.schema), params)

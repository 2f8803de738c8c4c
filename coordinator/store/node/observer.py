"""Requests of a group's observer: all sessions at one look, and its decisions carried out.

Decisions are told in order:
  1. the observer's own session lives, and its row stays locked: nobody takes its token meanwhile;
  2. the rows of the nodes to decide on are locked; whose row is in use, lives, and is left out;
  3. the version is still the one that was decided on, and rises: of two observers one decides;
  4. each decision is a compare-and-set on its node's row, and is written down with its reason.
A "no" at 1 or 3 undoes all of it; so does it when no decision holds any more.

The order of the locks is that of a node that joins or leaves: sessions first, the version last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from coordinator.protocol.messages.requests import Answer, View
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decide,
    EndSession,
    EndSpread,
    SessionSeen,
)
from coordinator.store.node.group_record import standing_of
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, read, read_committed
from coordinator.store.sql.view import Place, read_view

WATCH_SESSIONS: LiteralString = """
SELECT
    node.task_id,
    node.session::text,
    node.beat,
    node.liveness_ms,
    node.heartbeat_ms,
    node.standing,
    node.caught_up,
    greatest(0, date_part('epoch', clock_timestamp() - node.last_heartbeat)),
    node.standing_version
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.session IS NOT NULL AND node.ended_at IS NULL
    AND node.isolation IS DISTINCT FROM 'in-process'  -- it runs no tasks, and has no standing
"""

#: A transaction that ends this session has to wait; its token can be taken only afterwards.
LOCK_OBSERVER: LiteralString = """
SELECT
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.task_id = %(node)s
    AND node.session = %(mine)s::uuid AND node.ended_at IS NULL
FOR NO KEY UPDATE
"""

#: Not waited for: a node that is writing its own row is neither dead nor in a hurry.
LOCK_DECIDED: LiteralString = """
SELECT node.task_id, node.standing
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.task_id = ANY(%(nodes)s::text[])
ORDER BY node.task_id
FOR NO KEY UPDATE SKIP LOCKED
"""

RAISE_DECIDED: LiteralString = """
UPDATE {schema}.group_record AS record
SET version = version + 1
WHERE record.group_id = %(group)s
    AND record.version = %(version)s
    AND record.suspended_at IS NULL
    AND EXISTS (
        SELECT
        FROM {schema}.token_holder AS token
        WHERE token.group_id = %(token)s
            AND token.session = %(mine)s::uuid
            AND token.term = %(term)s
    )
    AND {settled_here}
RETURNING record.version
"""

END_SESSIONS: LiteralString = """
UPDATE {schema}.health_check AS node
SET ended_at = clock_timestamp(),
    end_reason = asked.reason,
    standing = CASE WHEN node.standing = 'member' THEN 'rehab' ELSE node.standing END
FROM unnest(
    %(nodes)s::text[], %(sessions)s::uuid[], %(beats)s::bigint[], %(reasons)s::text[]
) AS asked (node, session, beat, reason)
WHERE node.group_id = %(group)s
    AND node.task_id = asked.node
    AND node.session = asked.session
    AND node.beat = asked.beat  -- one more beat and it lives
    AND node.ended_at IS NULL
RETURNING node.task_id, node.session::text, node.standing, asked.reason
"""

CHANGE_STANDINGS: LiteralString = """
UPDATE {schema}.health_check AS node
SET standing = asked.standing, standing_version = %(raised)s
FROM unnest(
    %(nodes)s::text[], %(sessions)s::uuid[], %(befores)s::text[], %(afters)s::text[],
    %(reasons)s::text[]
) AS asked (node, session, before, standing, reason)
WHERE node.group_id = %(group)s
    AND node.task_id = asked.node
    AND node.session = asked.session
    AND node.standing = asked.before
    AND node.ended_at IS NULL
RETURNING node.task_id, node.session::text, node.standing, asked.reason
"""

#: A row for each decision, an event for each, and one for each token that an ended session leaves.
RECORD_DECISIONS: LiteralString = """
WITH made AS (
    SELECT *
    FROM unnest(
        %(kinds)s::text[], %(nodes)s::text[], %(sessions)s::uuid[], %(befores)s::text[],
        %(afters)s::text[], %(reasons)s::text[]
    ) AS made (kind, node, session, before, after, reason)
), decided AS (
    INSERT INTO {schema}.observer_decision (
        group_id, version, observer, term, node, kind, before, after, reason
    )
    SELECT %(group)s, %(version)s, %(node)s, %(term)s, node, kind, before, after, reason FROM made
), noted AS (
    INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
    SELECT
        %(group)s, kind, node, session, NULL,
        CASE WHEN before = after THEN reason ELSE before || ' -> ' || after || ': ' || reason END,
        %(node)s
    FROM made
)
INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
SELECT token.group_id, 'stuck', token.task_id, token.session, token.term, made.reason, %(node)s
FROM made
JOIN {schema}.token_holder AS token ON token.session = made.session
WHERE made.kind = 'ended' AND token.group_id <> %(token)s
"""

#: There is a new Member: tasks may be moved until they are spread over all of them.
BEGIN_SPREAD: LiteralString = """
UPDATE {schema}.group_record SET spread_version = version WHERE group_id = %(group)s
"""

END_SPREAD: LiteralString = """
UPDATE {schema}.group_record AS record
SET version = version + 1, spread_version = NULL
WHERE record.group_id = %(group)s
    AND record.version = %(version)s
    AND record.spread_version IS NOT NULL
    AND EXISTS (
        SELECT
        FROM {schema}.token_holder AS token
        WHERE token.group_id = %(token)s
            AND token.session = %(mine)s::uuid
            AND token.term = %(term)s
    )
RETURNING record.version
"""

TELL_DECIDED: LiteralString = """
SELECT pg_notify(
    %(channel)s, json_build_object('kind', 'group', 'version', %(version)s::bigint)::text
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A decision as it was carried out; kind: "ended" | "standing"."""

    kind: str
    node: str
    session: str
    before: str
    after: str
    reason: str


def watch_sessions(cursor: Cursor, place: Place) -> Answer:
    """Read every live session of the group."""
    rows = read(cursor, named(WATCH_SESSIONS, place.schema), place.params())
    sessions = tuple(_seen(row) for row in rows)
    return Answer(done=True, view=read_view(cursor, place), sessions=sessions)


def decide(cursor: Cursor, place: Place, request: Decide) -> Answer:
    """Carry out the decisions that still hold; not done when none does, or another decides."""

    def body(cursor: Cursor) -> View | None:
        params = place.params(
            mine=request.session,
            term=request.term,
            version=request.version,
            nodes=sorted({decision.node for decision in request.decisions}),
        )
        cursor.execute(named(LOCK_OBSERVER, place.schema), params)
        if cursor.rowcount == 0:
            return None
        cursor.execute(named(LOCK_DECIDED, place.schema), params)
        before: dict[str, str] = dict(cursor.fetchall())
        cursor.execute(named(RAISE_DECIDED, place.schema), params)
        raised = cursor.fetchone()
        if raised is None:
            return None
        made = [
            *_end(cursor, place, request, before),
            *_change(cursor, place, request, before, raised[0]),
        ]
        if not made:
            return None
        if any(one.after == "member" and one.kind == "standing" for one in made):
            cursor.execute(named(BEGIN_SPREAD, place.schema), params)
        record(cursor, place, made, version=raised[0], term=request.term)
        cursor.execute(named(TELL_DECIDED, place.schema), place.params(version=raised[0]))
        return read_view(cursor, place)

    view = read_committed(cursor, body)
    if view is None:
        return Answer(done=False, view=read_view(cursor, place))
    return Answer(done=True, view=view)


def end_spread(cursor: Cursor, place: Place, request: EndSpread) -> Answer:
    """Say that the tasks are spread: from the next version on, what runs stays where it is."""

    def body(cursor: Cursor) -> View | None:
        params = place.params(mine=request.session, term=request.term, version=request.version)
        cursor.execute(named(END_SPREAD, place.schema), params)
        raised = cursor.fetchone()
        if raised is None:
            return None
        cursor.execute(named(TELL_DECIDED, place.schema), place.params(version=raised[0]))
        return read_view(cursor, place)

    view = read_committed(cursor, body)
    if view is None:
        return Answer(done=False, view=read_view(cursor, place))
    return Answer(done=True, view=view)


def record(cursor: Cursor, place: Place, made: Sequence[Made], *, version: int, term: int) -> None:
    """Write down what was decided, for people."""
    params = place.params(
        version=version,
        term=term,
        kinds=[one.kind for one in made],
        nodes=[one.node for one in made],
        sessions=[one.session for one in made],
        befores=[one.before for one in made],
        afters=[one.after for one in made],
        reasons=[one.reason for one in made],
    )
    cursor.execute(named(RECORD_DECISIONS, place.schema), params)


def _end(cursor: Cursor, place: Place, request: Decide, before: dict[str, str]) -> list[Made]:
    """End the sessions that show the beat that was seen."""
    asked = [one for one in request.decisions if isinstance(one, EndSession) and one.node in before]
    if not asked:
        return []
    params = place.params(
        nodes=[one.node for one in asked],
        sessions=[one.session for one in asked],
        beats=[one.beat for one in asked],
        reasons=[one.reason for one in asked],
    )
    cursor.execute(named(END_SESSIONS, place.schema), params)
    return [_made("ended", before, row) for row in cursor]


def _change(
    cursor: Cursor, place: Place, request: Decide, before: dict[str, str], raised: int
) -> list[Made]:
    """Change the standings that are what was seen, and mark at which version."""
    asked = [
        one for one in request.decisions if isinstance(one, ChangeStanding) and one.node in before
    ]
    if not asked:
        return []
    params = place.params(
        raised=raised,
        nodes=[one.node for one in asked],
        sessions=[one.session for one in asked],
        befores=[one.before.value for one in asked],
        afters=[one.after.value for one in asked],
        reasons=[one.reason for one in asked],
    )
    cursor.execute(named(CHANGE_STANDINGS, place.schema), params)
    return [_made("standing", before, row) for row in cursor]


def _made(kind: str, before: dict[str, str], row: Sequence[Any]) -> Made:
    node, session, after, reason = row
    return Made(
        kind=kind, node=node, session=session, before=before[node], after=after, reason=reason
    )


def _seen(row: Sequence[Any]) -> SessionSeen:
    node, session, beat, liveness_ms, heartbeat_ms, standing, caught_up, age_s, changed = row
    return SessionSeen(
        node=node,
        session=session,
        beat=beat,
        liveness_s=liveness_ms / 1000,
        heartbeat_s=heartbeat_ms / 1000,
        standing=standing_of(standing),
        caught_up=caught_up,
        age_s=age_s or 0.0,
        standing_version=changed,
    )

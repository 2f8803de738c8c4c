"""The life of one node's session: join, end a silent namesake, leave; `heartbeat` keeps it alive.

Everything here is READ COMMITTED and a compare-and-set on the node's own row, which exists since
connect.
"""

from __future__ import annotations

from typing import LiteralString

from coordinator.protocol.messages.requests import Answer, EndNamesake, Join, Leave, NodeFacts
from coordinator.store.driver.moments import wall_ms
from coordinator.store.node.fence_locks import push_fences_aside
from coordinator.store.node.group_record import raise_version
from coordinator.store.node.race import give_back
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, read_committed, write
from coordinator.store.sql.view import Place, node_seen, read_view

#: Locked, so that nobody ends the session before what it asked for is done.
LOCK_OWN_SESSION: LiteralString = """
SELECT node.caught_up
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.task_id = %(node)s
    AND node.session = %(mine)s::uuid AND node.ended_at IS NULL
FOR NO KEY UPDATE
"""

#: Rows that a compare-and-set needs; made beforehand, never in a transaction that decides.
ENSURE_ROWS: LiteralString = """
WITH node AS (
    INSERT INTO {schema}.health_check (group_id, task_id) VALUES (%(group)s, %(node)s)
    ON CONFLICT DO NOTHING
), token AS (
    INSERT INTO {schema}.token_holder (group_id) VALUES (%(token)s) ON CONFLICT DO NOTHING
)
INSERT INTO {schema}.group_record (group_id) VALUES (%(group)s) ON CONFLICT DO NOTHING
"""

LOCK_OWN_ROW: LiteralString = """
SELECT node.priority, node.last_heartbeat, {node_columns}
FROM {schema}.health_check AS node
WHERE node.group_id = %(group)s AND node.task_id = %(node)s
FOR UPDATE
"""

#: The beat goes on rising over the sessions: a watcher must never see an old pair again.
#: A session that was ended cannot be started again. A late request undoes no told interval (I3).
#: Where tasks are spread, a node that was a Member has failed, or was away: it is in Rehab now.
JOIN: LiteralString = """
UPDATE {schema}.health_check
SET session = %(mine)s::uuid, beat = beat + 1, last_heartbeat = clock_timestamp(),
    liveness_ms = CASE WHEN session = %(mine)s::uuid THEN liveness_ms ELSE %(liveness_ms)s END,
    lease_ms = CASE WHEN session = %(mine)s::uuid THEN lease_ms ELSE %(lease_ms)s END,
    file_liveness_ms = %(liveness_ms)s, heartbeat_ms = %(heartbeat_ms)s, priority = %(priority)s,
    host = %(host)s, pid = %(pid)s, version = %(version)s, config_hash = %(config_hash)s,
    isolation = %(isolation)s, hosts_tasks = %(hosts_tasks)s, capacity = %(capacity)s,
    address = coalesce(nullif(%(address)s, ''), host(inet_client_addr())),
    ready = NULL, ended_at = NULL, end_reason = NULL, clock_ms = {clock_ms},
    standing = CASE
        WHEN NOT %(hosts_tasks)s THEN 'member'
        WHEN session IS NULL THEN 'promotable'
        WHEN session = %(mine)s::uuid OR standing = 'promotable' THEN standing
        ELSE 'rehab'
    END,
    caught_up = caught_up AND coalesce(session = %(mine)s::uuid, false),
    seen_version = CASE WHEN session = %(mine)s::uuid THEN seen_version END,
    joined_at = clock_timestamp(),
    started_at = CASE
        WHEN session = %(previous)s::uuid AND started_at IS NOT NULL THEN started_at
        ELSE clock_timestamp()
    END
WHERE group_id = %(group)s AND task_id = %(node)s
    AND CASE
        WHEN session IS NULL THEN true
        WHEN session = %(mine)s::uuid THEN ended_at IS NULL
        ELSE ended_at IS NOT NULL OR session IS NOT DISTINCT FROM %(previous)s::uuid
    END
"""

#: Tokens that the previous session still holds were active until its last heartbeat, as far as is
#: known: JOIN overwrites the row that has it.
NOTE_LAST_BEAT: LiteralString = """
UPDATE {schema}.token_history AS held
SET active_until = coalesce(held.active_until, %(beaten_at)s),
    end_reason = coalesce(held.end_reason, %(over)s)
FROM {schema}.token_holder AS token
WHERE token.session = %(before)s::uuid
    AND held.group_id = token.group_id AND held.term = token.term
"""

#: The node itself knows best when its program ended, even if the token was taken since.
NOTE_PROGRAM_END: LiteralString = """
UPDATE {schema}.token_history
SET active_until = clock_timestamp() - %(ended_ms)s::bigint * interval '1 millisecond'
WHERE group_id = %(token)s AND term = %(ended_term)s
"""

#: A group either runs one program or spreads tasks. Locks the record: of two that join for the
#: first time, the second sees the first. A node that was silent for its own interval counts no
#: more; it is never given a task, whatever it does.
LOCK_KIND: LiteralString = """
SELECT FROM {schema}.group_record AS record WHERE record.group_id = %(group)s FOR NO KEY UPDATE
"""
OTHER_KIND: LiteralString = """
SELECT
    (
        SELECT count(*)
        FROM {schema}.health_check AS other
        WHERE other.group_id = %(group)s AND other.task_id <> %(node)s
            AND other.session IS NOT NULL AND other.ended_at IS NULL
            AND other.hosts_tasks <> %(hosts_tasks)s
            AND other.isolation IS DISTINCT FROM 'in-process'  -- it runs nothing of the group
            AND clock_timestamp() - other.last_heartbeat < other.liveness_ms * interval '1 ms'
    ),
    CASE WHEN %(hosts_tasks)s THEN 0 ELSE (
        SELECT count(*) FROM {schema}.task AS task
        WHERE task.group_id = %(group)s AND NOT task.deleted
    ) END
"""
SET_KIND: LiteralString = """
UPDATE {schema}.group_record
SET hosts_tasks = %(hosts_tasks)s
WHERE group_id = %(group)s AND hosts_tasks <> %(hosts_tasks)s
"""

#: Nobody has seen this session of the node fail. In the order of the names.
FORGET_FAILURES: LiteralString = """
WITH failed AS (
    SELECT known.task
    FROM {schema}.task_node AS known
    WHERE known.group_id = %(group)s AND known.node = %(node)s AND known.failed_count > 0
    ORDER BY known.task
    FOR NO KEY UPDATE
)
UPDATE {schema}.task_node AS known
SET failed_count = 0
FROM failed
WHERE known.group_id = %(group)s AND known.node = %(node)s AND known.task = failed.task
"""

NOTE: LiteralString = """
INSERT INTO {schema}.event (group_id, kind, task_id, session, reason, who)
VALUES (%(group)s, %(kind)s, %(node)s, %(mine)s::uuid, %(reason)s, %(node)s)
"""

END_NAMESAKE: LiteralString = """
WITH ended AS (
    UPDATE {schema}.health_check
    SET ended_at = clock_timestamp(), end_reason = 'silent namesake',
        standing = {standing_after_end}
    WHERE group_id = %(group)s AND task_id = %(node)s
        AND session = %(namesake)s::uuid
        AND beat = %(beat)s  -- one more beat and it lives
        AND ended_at IS NULL
    RETURNING task_id, session
)
INSERT INTO {schema}.event (group_id, kind, task_id, session, reason, who)
SELECT %(group)s, 'ended', task_id, session, 'silent namesake', task_id FROM ended
"""

#: Ends the session and gives back all that it holds. Answers as `race.RELEASE` does.
LEAVE: LiteralString = """
SELECT * FROM {schema}.coord_leave(
    p_system => %(system)s::bigint,
    p_group => %(group)s,
    p_token => %(token)s,
    p_node => %(node)s,
    p_mine => %(mine)s,
    p_reason => %(reason)s,
    p_channel => %(channel)s,
    p_hosts_tasks => %(hosts_tasks)s,
    p_waits => %(waits)s,
    p_ended_term => %(ended_term)s::bigint,
    p_ended_ms => %(ended_ms)s::bigint
)
"""


def ensure_rows(cursor: Cursor, place: Place) -> None:
    """Create the rows of this node and its group where they are missing."""
    write(cursor, named(ENSURE_ROWS, place.schema), place.params())


def join(cursor: Cursor, place: Place, request: Join, facts: NodeFacts) -> Answer:
    """Start a session in the node's own row, unless a living namesake occupies it."""
    params = place.params(
        **_columns(facts),
        mine=request.session,
        previous=request.previous,
        kind="joined",
        reason=None if request.previous is None else "the previous session was over",
    )

    refusals: list[str] = []

    def body(cursor: Cursor) -> Answer | None:
        cursor.execute(named(LOCK_OWN_ROW, place.schema), params)
        before = cursor.fetchone()
        assert before is not None, "the node's own row was made beforehand"
        beaten_at, namesake = before[1], node_seen(before[2:])
        cursor.execute(named(JOIN, place.schema), params)
        if cursor.rowcount == 0:
            return Answer(done=False, view=read_view(cursor, place), namesake=namesake)
        fresh = namesake.session != request.session
        if fresh and place.hosts_tasks:
            # Before the record, as everybody locks them; a refusal undoes it.
            cursor.execute(named(FORGET_FAILURES, place.schema), params)
        refused = _other_kind(cursor, place) if fresh and not facts.holds else ""
        if refused:
            refusals.append(refused)
            return None
        if fresh:
            cursor.execute(named(NOTE, place.schema), params)
            _note_activity(cursor, place, request, namesake.session, beaten_at)
        # A program's group is asked for its roster only: the same node once more is no news.
        again = facts.holds or (not namesake.ended and before[0] == facts.priority)
        if (fresh and place.hosts_tasks) or not again:
            raise_version(cursor, place)
        return Answer(
            done=True, view=read_view(cursor, place), beat=namesake.beat + 1, namesake=namesake
        )

    ensure_rows(cursor, place)
    answer = read_committed(cursor, body)
    if answer is None:
        return Answer(done=False, view=read_view(cursor, place), refused=refusals[-1])
    return answer


def _note_activity(
    cursor: Cursor, place: Place, request: Join, before: str | None, beaten_at: object
) -> None:
    """Write down until when the session before was active; takeovers are counted from there."""
    if before is not None:
        params = place.params(before=before, beaten_at=beaten_at, over=request.over or None)
        cursor.execute(named(NOTE_LAST_BEAT, place.schema), params)
    if request.ended_term:
        params = place.params(ended_ms=round(1000 * request.ended_s), ended_term=request.ended_term)
        cursor.execute(named(NOTE_PROGRAM_END, place.schema), params)


def end_namesake(cursor: Cursor, place: Place, request: EndNamesake) -> Answer:
    """End the silent session in the node's own row, if it still shows the beat that was seen."""
    params = place.params(namesake=request.session, beat=request.beat)

    def body(cursor: Cursor) -> Answer:
        cursor.execute(named(END_NAMESAKE, place.schema), params)
        done = cursor.rowcount > 0
        if done and place.hosts_tasks:
            raise_version(cursor, place)
        return Answer(done=done, view=read_view(cursor, place))

    answer = read_committed(cursor, body)
    assert answer is not None, "this body always answers"
    return answer


def leave(cursor: Cursor, place: Place, request: Leave) -> Answer:
    """End the own session and give back all that it holds, in one transaction."""
    params = place.params(
        mine=request.session,
        reason=request.reason,
        ended_term=request.ended_term,
        ended_ms=round(request.ended_s * 1000),
    )

    def push_aside(cursor: Cursor) -> None:
        # The session's row first, as in a takeover: the other order would meet it in a deadlock.
        cursor.execute(named(LOCK_OWN_SESSION, place.schema), params)
        if cursor.rowcount:
            push_fences_aside(cursor, place, request.session)

    return give_back(cursor, place, named(LEAVE, place.schema), params, push_aside)


def _other_kind(cursor: Cursor, place: Place) -> str:
    """Return why this node may not join: its group is of the other kind. Empty: it may."""
    params = place.params()
    cursor.execute(named(LOCK_KIND, place.schema), params)
    cursor.execute(named(OTHER_KIND, place.schema), params)
    row = cursor.fetchone()
    assert row is not None, "counts are one row"
    others, tasks = row
    if not others and not tasks:
        cursor.execute(named(SET_KIND, place.schema), params)
        return ""
    return kind_refusal(place.group, hosts_tasks=place.hosts_tasks, others=others, tasks=tasks)


def kind_refusal(group: str, *, hosts_tasks: bool, others: int, tasks: int) -> str:
    """Return why a node of one kind may not join a group of the other, for people."""
    if hosts_tasks:
        return (
            f"group {group} runs one program (live nodes: {others}), and this node would spread"
            " tasks: give it another groupId, or end those nodes first"
        )
    return (
        f"group {group} spreads tasks (tasks: {tasks}, live nodes: {others}), and this node does"
        " not: start it with --tasks, give it another groupId, or, in a program, name the lock:"
        " token(NAME)"
    )


def _columns(facts: NodeFacts) -> dict[str, object]:
    """Return what a node writes about itself, as columns."""
    return {
        "liveness_ms": round(facts.liveness_s * 1000),
        "heartbeat_ms": round(facts.heartbeat_s * 1000),
        "lease_ms": round(facts.lease_s * 1000),
        "priority": facts.priority,
        "host": facts.host,
        "pid": facts.pid,
        "version": facts.version,
        "config_hash": facts.config_hash,
        "isolation": facts.isolation,
        "capacity": facts.capacity,
        "address": facts.address,
        "wall_ms": wall_ms(),
    }

"""Epochs: the histories of the database that may grant tokens; floors keep terms from repeating.

After a promotion that lost commits the new primary may call a token free that the old one had
granted. So nothing is taken on a run of a server before it is settled: either it is the first of a
database that never knew another, or a node has waited there until every older lease of its group
had run out, or has found that the server was restarted in place.
"""

from __future__ import annotations

from typing import LiteralString

from coordinator.protocol.messages.requests import Answer, RaiseFloor, Settle
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, write
from coordinator.store.sql.view import Place, write_and_look

#: Its own statement, before anything reads it. The row is the group's own: nobody of another group
#: may hold it, uncommitted or locked, and so hold up who needs it. What others have written of this
#: server is read, never waited for. Settled from the start only where nothing else can ever have
#: been granted, or where who starts the server says that he starts it in place: the embedded one,
#: by a name on the server's command line, where no SQL, no setting of a role or a database, no
#: client's option and no file can put it. A branch keeps the name that its group's first row got,
#: through all restarts; where another branch gets the same number, that row is not there.
ENSURE_EPOCH: LiteralString = """
INSERT INTO {schema}.database_epoch (
    group_id, system_identifier, timeline, started_at, branch, first_branch, settled, settled_by,
    settled_at
)
SELECT
    %(group)s,
    %(system)s,
    server.timeline,
    server.started_at,
    coalesce(known.branch, gen_random_uuid()),
    coalesce(known.first_branch, others.first_branch, first.is_first),
    first.is_first OR in_place.said,
    CASE
        WHEN first.is_first THEN 'timeline 1 of a new database'
        WHEN in_place.said THEN 'restarted in place'
    END,
    CASE WHEN first.is_first OR in_place.said THEN clock_timestamp() END
FROM ({server}) AS server
LEFT JOIN LATERAL (
    SELECT branch, first_branch
    FROM {schema}.database_epoch AS earlier
    WHERE earlier.system_identifier = %(system)s AND earlier.timeline = server.timeline
        AND earlier.group_id = %(group)s
    ORDER BY earlier.started_at DESC
    LIMIT 1
) AS known ON true
CROSS JOIN LATERAL (
    SELECT bool_and(other.first_branch) AS first_branch
    FROM {schema}.database_epoch AS other
    WHERE other.system_identifier = %(system)s AND other.timeline = server.timeline
) AS others
CROSS JOIN LATERAL (
    SELECT server.timeline = 1
        AND NOT EXISTS (
            SELECT FROM {schema}.database_epoch AS other
            WHERE (other.system_identifier, other.timeline, other.started_at)
                IS DISTINCT FROM (%(system)s, server.timeline, server.started_at)
        )
        AND (
            EXISTS (SELECT FROM {schema}.database_epoch AS other WHERE other.settled)
            OR NOT EXISTS (SELECT FROM {schema}.token_holder WHERE term > 0)
            AND NOT EXISTS (SELECT FROM {schema}.token_history)
        ) AS is_first
) AS first
CROSS JOIN LATERAL (
    SELECT others.first_branch IS NOT NULL
        AND EXISTS (
            SELECT FROM pg_catalog.pg_settings AS setting
            WHERE setting.name = 'cluster_name'
                AND setting.setting = 'coord-in-place'
                AND setting.source = 'command line'
        ) AS said
) AS in_place
WHERE NOT EXISTS (SELECT FROM {schema}.database_epoch AS epoch WHERE {this_epoch})
ON CONFLICT DO NOTHING
"""

#: For the asker's group. Done as well when another node was faster; the identity must still be the
#: asker's. A wait is counted again by the server's clock, less what two clocks may differ in rate;
#: one that was set back makes nobody wait for longer than twice. What other groups have waited here
#: counts as well. Terms after a wait come from the clock: those of the lost part are known to
#: nobody.
SETTLE: LiteralString = """
WITH here AS (
    SELECT epoch.*
    FROM ({server}) AS server
    JOIN {schema}.database_epoch AS epoch ON {this_epoch}
    CROSS JOIN LATERAL (
        SELECT max(watched.waited_ms) AS waited_ms, min(watched.first_seen_at) AS first_seen_at
        FROM {schema}.database_epoch AS watched
        WHERE watched.system_identifier = epoch.system_identifier
            AND watched.timeline = epoch.timeline
            AND watched.started_at = epoch.started_at
    ) AS anybody
    WHERE epoch.system_identifier = %(waited_system)s
        AND epoch.timeline = %(waited_timeline)s
        AND epoch.started_at = %(waited_start)s
        AND epoch.branch = %(branch)s::uuid
        AND (
            %(continues)s
            OR anybody.waited_ms >= %(waited_ms)s
            OR clock_timestamp() NOT BETWEEN anybody.first_seen_at
                AND anybody.first_seen_at + 0.8 * %(waited_ms)s * interval '1 millisecond'
        )
), waited AS (
    UPDATE {schema}.database_epoch AS epoch
    SET waited_ms = %(waited_ms)s,
        settled_by = coalesce(epoch.settled_by, %(node)s),
        settled_at = coalesce(epoch.settled_at, clock_timestamp())
    FROM here
    WHERE epoch.system_identifier = here.system_identifier
        AND epoch.timeline = here.timeline
        AND epoch.started_at = here.started_at
        AND epoch.group_id = here.group_id
        AND NOT %(continues)s
        AND epoch.waited_ms < %(waited_ms)s
        -- What a group says of its own wait, others believe.
        AND clock_timestamp() NOT BETWEEN epoch.first_seen_at
            AND epoch.first_seen_at + 0.8 * %(waited_ms)s * interval '1 millisecond'
), settled AS (
    UPDATE {schema}.group_record AS record
    SET settled_branch = here.branch,
        settled_start = here.started_at,
        terms_by_clock = record.terms_by_clock OR NOT %(continues)s
    FROM here
    WHERE record.group_id = %(group)s
        AND (record.settled_branch, record.settled_start)
            IS DISTINCT FROM (here.branch, here.started_at)
        AND NOT here.settled
    RETURNING here.timeline
), noted AS (
    INSERT INTO {schema}.event (group_id, kind, task_id, reason, who)
    SELECT %(group)s, 'settled', %(node)s,
        'timeline ' || timeline || CASE
            WHEN %(continues)s THEN ', restarted in place'
            ELSE ', waited ' || round(%(waited_ms)s / 1000.0, 1) || ' s'
        END,
        %(node)s
    FROM settled
)
SELECT FROM here
"""

RAISE_FLOOR: LiteralString = """
WITH clocked AS (
    UPDATE {schema}.group_record
    SET terms_by_clock = true
    WHERE group_id = %(group)s AND %(by_clock)s AND NOT terms_by_clock
)
UPDATE {schema}.token_holder
SET term_floor = greatest(term_floor, %(floor)s::bigint)
WHERE group_id = %(token)s
"""


def ensure_epoch(cursor: Cursor, place: Place) -> None:
    """Create the group's row of the server's current identity where it is missing."""
    write(cursor, named(ENSURE_EPOCH, place.schema), place.params())


def settle(cursor: Cursor, place: Place, request: Settle) -> Answer:
    """Mark the identity as settled, if it is the server's current one."""
    # A pooler may have brought us to this identity without a new connect.
    ensure_epoch(cursor, place)
    identity = request.identity
    params = place.params(
        waited_system=identity.system_identifier,
        waited_timeline=identity.timeline,
        waited_start=identity.started_at,
        branch=identity.branch or None,
        waited_ms=0 if request.continues else min(int(request.waited_s * 1000), 2**31 - 2),
        continues=request.continues,
    )
    return write_and_look(cursor, place, named(SETTLE, place.schema), params)


def raise_floor(cursor: Cursor, place: Place, request: RaiseFloor) -> Answer:
    """Let no later term be at or below one that this node remembers."""
    params = place.params(floor=request.term, by_clock=request.by_clock)
    return write_and_look(cursor, place, named(RAISE_FLOOR, place.schema), params)

"""Which history of the database may grant tokens, and the floor that keeps terms from repeating.

After a promotion that lost commits the new primary may call a token free that the old one had
granted. So an identity (system identifier, timeline) must be settled before anything is taken on
it: either it is timeline 1 of a database that never knew another, or a node has waited there
until every older lease had run out.
"""

from __future__ import annotations

from typing import LiteralString

from coordinator.protocol.requests import Answer, RaiseFloor, Settle
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor, write
from coordinator.store.view import Place, write_and_look

#: Its own statement, before anything reads it: settled from the start only where nothing else
#: can ever have been granted.
ENSURE_EPOCH: LiteralString = """
INSERT INTO {schema}.database_epoch (system_identifier, timeline, settled, settled_by, settled_at)
SELECT
    %(system)s,
    server.timeline,
    first.is_first,
    CASE WHEN first.is_first THEN 'timeline 1 of a new database' END,
    CASE WHEN first.is_first THEN clock_timestamp() END
FROM ({server}) AS server,
LATERAL (
    SELECT server.timeline = 1
        AND NOT EXISTS (SELECT FROM {schema}.database_epoch) AS is_first
) AS first
ON CONFLICT DO NOTHING
"""

#: Done as well when another node was faster; the identity must still be the asker's.
SETTLE: LiteralString = """
WITH settled AS (
    UPDATE {schema}.database_epoch AS epoch
    SET settled = true,
        settled_by = CASE WHEN epoch.settled THEN epoch.settled_by ELSE %(node)s END,
        settled_at = coalesce(epoch.settled_at, clock_timestamp())
    FROM ({server}) AS server
    WHERE epoch.system_identifier = %(system)s
        AND epoch.system_identifier = %(waited_system)s
        AND epoch.timeline = server.timeline
        AND epoch.timeline = %(waited_timeline)s
    RETURNING epoch.timeline, epoch.settled_by
)
INSERT INTO {schema}.event (group_id, kind, task_id, reason, who)
SELECT %(group)s, 'settled', %(node)s, 'timeline ' || timeline, settled_by FROM settled
"""

RAISE_FLOOR: LiteralString = """
UPDATE {schema}.token_holder
SET term_floor = greatest(term_floor, %(floor)s::bigint)
WHERE group_id = %(token)s
"""


def ensure_epoch(cursor: Cursor, place: Place) -> None:
    """Create the row of the server's current identity where it is missing."""
    write(cursor, named(ENSURE_EPOCH, place.schema), place.params())


def settle(cursor: Cursor, place: Place, request: Settle) -> Answer:
    """Mark the identity as settled, if it is the server's current one."""
    # A pooler may have brought us to this identity without a new connect.
    ensure_epoch(cursor, place)
    params = place.params(waited_system=request.system_identifier, waited_timeline=request.timeline)
    return write_and_look(cursor, place, named(SETTLE, place.schema), params)


def raise_floor(cursor: Cursor, place: Place, request: RaiseFloor) -> Answer:
    """Let no later term be at or below one that this node remembers."""
    params = place.params(floor=request.term)
    return write_and_look(cursor, place, named(RAISE_FLOOR, place.schema), params)

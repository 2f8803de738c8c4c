"""The record of the slots of `coord once`: a look at it, and a second claim of a slot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import psycopg

from coordinator.store.driver import connect as driver
from coordinator.store.program.schedule import TIMEOUT_S, Connection, Holding, do, under_term
from coordinator.store.sql.fence import NOT_CURRENT

#: The name of the record in its group.
NAME = "once"

_NOW: LiteralString = "SELECT clock_timestamp()"

_LOOK: LiteralString = """
SELECT
    clock_timestamp(),
    seen.last_fire_at,
    COALESCE(seen.last_outcome, '') IN ('running', 'died'),
    COALESCE(seen.term, 0),
    COALESCE(token.term, 0),
    COALESCE(token.task_id, ''),
    COALESCE(
        node.ended_at IS NULL
        AND clock_timestamp() < node.last_heartbeat + node.liveness_ms * interval '1 millisecond',
        false
    ),
    COALESCE(extract(epoch FROM clock_timestamp() - COALESCE(
        node.ended_at,
        node.last_heartbeat + node.liveness_ms * interval '1 millisecond',
        token.released_at
    ))::double precision, 0),
    NOT {schema}.coord_may_take(%(group)s, %(node)s, false)
FROM (SELECT) AS one
LEFT JOIN {schema}.schedule AS seen ON seen.group_id = %(group)s AND seen.name = %(name)s
LEFT JOIN {schema}.token_holder AS token ON token.group_id = %(group)s
LEFT JOIN {schema}.health_check AS node
    ON node.group_id = %(group)s AND node.task_id = token.task_id AND node.session = token.session
"""

#: Under a newer term the earlier run is dead; one whose end was written is never made again.
_CLAIM_AGAIN: LiteralString = """
UPDATE {schema}.schedule
SET last_outcome = 'running', last_error = NULL, term = %(term)s, updated_at = clock_timestamp()
WHERE group_id = %(group)s
    AND name = %(name)s
    AND last_fire_at = %(slot)s
    AND last_outcome IN ('running', 'died')
    AND term < %(term)s
RETURNING fired_count
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Record and token of a group in one read, and the database's clock; moments in UTC.

    unfinished: the end of the last run was not written.
    lives:      the token's holder beats.
    paused:     planned changes forbid this node to take the token.
    """

    now: datetime
    fired_at: datetime | None = None
    unfinished: bool = False
    record_term: int = 0
    token_term: int = 0
    holder: str = ""
    lives: bool = False
    dead_for_s: float = 0.0
    paused: bool = False


def now(connection: Connection) -> datetime:
    """Return the database's clock; it needs no schema."""
    with connection.transaction():
        connection.execute(driver.preamble(connection, driver.limits(TIMEOUT_S)))
        row = connection.execute(_NOW).fetchone()
    assert row is not None, "a clock answers with one row"
    moment: datetime = row[0]
    return moment.astimezone(UTC)


def look(connection: Connection, me: Holding) -> Looked:
    """Read record and token; without a schema there is neither."""
    try:
        with connection.transaction():
            connection.execute(driver.preamble(connection, driver.limits(TIMEOUT_S)))
            row = do(connection, me, _LOOK).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return Looked(now=now(connection))
    assert row is not None, "an outer join of one row has one"
    moment, fired_at, unfinished, record_term, token_term, holder, lives, dead_for_s, paused = row
    return Looked(
        now=moment.astimezone(UTC),
        fired_at=None if fired_at is None else fired_at.astimezone(UTC),
        unfinished=unfinished,
        record_term=record_term,
        token_term=token_term,
        holder=holder,
        lives=lives,
        dead_for_s=dead_for_s,
        paused=paused,
    )


def claim_again(connection: Connection, me: Holding, *, slot: datetime) -> bool:
    """Claim a slot whose starter died, under our newer term; false when it is not to be had."""
    try:
        with under_term(connection, me):
            return do(connection, me, _CLAIM_AGAIN, slot=slot).fetchone() is not None
    except psycopg.Error as error:
        if error.sqlstate != NOT_CURRENT:
            raise
        return False

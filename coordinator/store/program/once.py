"""The record of the slots of `coord once`: a look, a reservation, a second claim of a slot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import psycopg

from coordinator.protocol.rules.once_per_slot import RESERVED_S
from coordinator.store.driver import connect as driver
from coordinator.store.program.schedule import (
    TIMEOUT_S,
    Connection,
    Holding,
    begin,
    do,
    under_term,
)
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
    NOT {schema}.coord_may_take(%(group)s, %(node)s, false),
    seen.reserved_slot,
    COALESCE(seen.reserved_by, ''),
    COALESCE(
        seen.reserved_until > clock_timestamp()
        AND seen.reserved_until <= clock_timestamp() + make_interval(secs => %(longest_s)s),
        false
    )
FROM (SELECT) AS one
LEFT JOIN {schema}.schedule AS seen ON seen.group_id = %(group)s AND seen.name = %(name)s
LEFT JOIN {schema}.token_holder AS token ON token.group_id = %(group)s
LEFT JOIN {schema}.health_check AS node
    ON node.group_id = %(group)s AND node.task_id = token.task_id AND node.session = token.session
"""

#: A later slot's reservation stands, and so does this one's until its time is over. A reservation
#: that is longer than any can be was made by a clock that was wrong since.
_RESERVE: LiteralString = """
UPDATE {schema}.schedule
SET reserved_slot = %(slot)s,
    reserved_by = %(node)s,
    reserved_until = clock_timestamp() + make_interval(secs => %(for_s)s)
WHERE group_id = %(group)s
    AND name = %(name)s
    AND (
        reserved_slot IS NULL
        OR reserved_slot < %(slot)s
        OR reserved_until <= clock_timestamp()
        OR reserved_until > clock_timestamp() + make_interval(secs => %(longest_s)s)
    )
RETURNING 1
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
    reserved_slot: the slot that was reserved last, by the machine reserved_by.
    reserved:   the time of that reservation is not over.
    has_schema: there is a record to reserve in.
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
    reserved_slot: datetime | None = None
    reserved_by: str = ""
    reserved: bool = False
    has_schema: bool = True


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
            row = do(connection, me, _LOOK, longest_s=RESERVED_S).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return Looked(now=now(connection), has_schema=False)
    assert row is not None, "an outer join of one row has one"
    moment, fired_at, unfinished, record_term, token_term, holder, lives, dead_for_s, *more = row
    paused, reserved_slot, reserved_by, reserved = more
    return Looked(
        now=moment.astimezone(UTC),
        fired_at=_in_utc(fired_at),
        unfinished=unfinished,
        record_term=record_term,
        token_term=token_term,
        holder=holder,
        lives=lives,
        dead_for_s=dead_for_s,
        paused=paused,
        reserved_slot=_in_utc(reserved_slot),
        reserved_by=reserved_by,
        reserved=reserved,
    )


def reserve(connection: Connection, me: Holding, *, slot: datetime, for_s: float) -> bool:
    """Reserve a slot for this machine; false when another has it, for this slot or a later one.

    Errors: psycopg's; after one of them the slot may be reserved, until its time is over.
    """
    with connection.transaction():
        connection.execute(driver.preamble(connection, driver.limits(TIMEOUT_S)))
        begin(connection, me)
        more = {"slot": slot, "for_s": for_s, "longest_s": RESERVED_S}
        return do(connection, me, _RESERVE, **more).fetchone() is not None


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def claim_again(connection: Connection, me: Holding, *, slot: datetime) -> bool:
    """Claim a slot whose starter died, under our newer term; false when it is not to be had."""
    try:
        with under_term(connection, me):
            return do(connection, me, _CLAIM_AGAIN, slot=slot).fetchone() is not None
    except psycopg.Error as error:
        if error.sqlstate != NOT_CURRENT:
            raise
        return False

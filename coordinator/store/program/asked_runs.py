"""The record of a task's runs by hand, for the process that serves the task's schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import LiteralString

from coordinator.protocol.messages.schedule_claims import RECORD_AHEAD_MAX_S
from coordinator.store.driver import connect as driver
from coordinator.store.program.schedule import TIMEOUT_S, Connection, Holding, do

#: The name of the record in the token of its task.
NAME = "_hand"

#: As the claim has it: later than what was fired, but for a record far ahead of the clock (C4).
_DUE: LiteralString = """
SELECT reserved_slot
FROM {schema}.schedule
WHERE group_id = %(group)s AND name = %(name)s
    AND reserved_until > clock_timestamp()
    AND (
        last_fire_at IS NULL
        OR last_fire_at < reserved_slot
        OR (
            last_fire_at > clock_timestamp() + make_interval(secs => %(record_ahead_s)s)
            AND last_fire_at <> reserved_slot
        )
    )
"""

#: Process that answers: behind a pooler another one than that which greeted us.
_ANSWERED_BY: LiteralString = "SELECT pg_backend_pid()"


def due(connection: Connection, me: Holding) -> datetime | None:
    """Return the slot of the request that waits to be claimed."""
    with connection.transaction():
        connection.execute(driver.preamble(connection, driver.limits(TIMEOUT_S)))
        row = do(connection, me, _DUE, record_ahead_s=RECORD_AHEAD_MAX_S).fetchone()
    return None if row is None else row[0].astimezone(UTC)


def is_lent(connection: Connection) -> bool:
    """Say whether a pooler lends the session, so that no notification can be relied on (O5)."""
    with connection.transaction():
        row = connection.execute(_ANSWERED_BY).fetchone()
    assert row is not None, "every session has a process"
    return bool(row[0] != connection.info.backend_pid)

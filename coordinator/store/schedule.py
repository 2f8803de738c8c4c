"""The group's record of its schedule: what was fired last, how often, and how it went.

Every write is one transaction under the fence: it holds the token row FOR SHARE until its commit,
so that no takeover can slip between the check and the write, and it changes nothing when
(term, session) is not the current holding. The record is as durable as the database's commits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from coordinator.protocol.schedule import (
    AlreadyEnded,
    AlreadyFired,
    Claim,
    Claimed,
    CountExhausted,
    NotHolder,
    Outcome,
)
from coordinator.store.engine import connect

#: What coord_fence raises when (term, session) is not the current holding.
NOT_CURRENT = "CF001"
#: Longer than any of these transactions takes; beyond it a run is better skipped than late.
TIMEOUT_MS = 5000
#: An error's text is for a person who looks why; the whole of it is in the log.
ERROR_TEXT_MAX = 1000

Connection = psycopg.Connection[Any]

_LIMITS: LiteralString = """
SELECT set_config('lock_timeout', %(timeout)s, true),
       set_config('statement_timeout', %(timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(timeout)s, true),
       set_config('synchronous_commit', 'on', true)
"""

_FENCE: LiteralString = """
SELECT {schema}.coord_fence(
    %(group)s, CAST(%(term)s AS bigint), CAST(%(session)s AS uuid)
)
"""

_BEGIN: LiteralString = """
INSERT INTO {schema}.schedule (group_id, name, updated_at)
VALUES (%(group)s, %(name)s, clock_timestamp())
ON CONFLICT (group_id, name) DO NOTHING
"""

_READ: LiteralString = """
SELECT fired_count, last_fire_at, ended, end_reason, clock_timestamp()
FROM {schema}.schedule
WHERE group_id = %(group)s AND name = %(name)s
"""

_CLAIM: LiteralString = """
UPDATE {schema}.schedule
SET fired_count = fired_count + 1,
    last_fire_at = %(slot)s,
    next_fire_at = %(next_at)s,
    last_outcome = 'running',
    last_error = NULL,
    last_duration_ms = NULL,
    last_finished_at = NULL,
    term = %(term)s,
    updated_at = clock_timestamp()
WHERE group_id = %(group)s
    AND name = %(name)s
    AND NOT ended
    AND (last_fire_at IS NULL OR last_fire_at < %(slot)s)
    AND (CAST(%(max_count)s AS bigint) IS NULL OR fired_count < %(max_count)s)
RETURNING fired_count
"""

_WHY_NOT: LiteralString = """
SELECT fired_count, last_fire_at, COALESCE(term, 0), ended, COALESCE(end_reason, '')
FROM {schema}.schedule
WHERE group_id = %(group)s AND name = %(name)s
"""

_FINISH: LiteralString = """
UPDATE {schema}.schedule
SET last_outcome = %(outcome)s,
    last_error = %(error)s,
    last_duration_ms = %(duration_ms)s,
    last_finished_at = clock_timestamp(),
    updated_at = clock_timestamp()
WHERE group_id = %(group)s
    AND name = %(name)s
    AND term = %(term)s
    AND last_fire_at = %(slot)s
"""

_SKIPPED: LiteralString = """
UPDATE {schema}.schedule
SET skipped_count = skipped_count + %(count)s, updated_at = clock_timestamp()
WHERE group_id = %(group)s AND name = %(name)s
"""

_END: LiteralString = """
UPDATE {schema}.schedule
SET ended = true,
    end_reason = %(reason)s,
    next_fire_at = NULL,
    term = %(term)s,
    updated_at = clock_timestamp()
WHERE group_id = %(group)s AND name = %(name)s AND NOT ended
"""

_REOPEN: LiteralString = """
UPDATE {schema}.schedule
SET ended = false, end_reason = NULL, term = %(term)s, updated_at = clock_timestamp()
WHERE group_id = %(group)s AND name = %(name)s AND ended
"""

_EVENT: LiteralString = """
INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
SELECT %(group)s, %(kind)s, task_id, session, term, %(reason)s, 'schedule'
FROM {schema}.token_holder
WHERE group_id = %(group)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Whose schedule, and under which holding of the token it is written."""

    schema: str
    group: str
    term: int
    session: str
    name: str = ""  #: a group's only schedule has no name


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The record as it stands, and the database's clock in the same transaction; moments in UTC.

    The driver gives them in the session's time zone, in which arithmetic skips and repeats hours.
    """

    fired_count: int
    last_fire_at: datetime | None
    ended: bool
    end_reason: str | None
    now: datetime


def open_connection(conninfo: str, connect_timeout_s: float) -> Connection:
    """Connect for the verbs below; a dead peer is noticed within their time."""
    given = conninfo_to_dict(conninfo)
    ours: dict[str, str | int] = {
        "connect_timeout": max(2, math.ceil(connect_timeout_s)),  # libpq takes 1 for 2
        "tcp_user_timeout": TIMEOUT_MS,
        "target_session_attrs": "read-write",
    }
    missing = {key: value for key, value in ours.items() if key not in given}
    connection = connect(make_conninfo(conninfo, **missing))
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    return connection


def read(connection: Connection, me: Holding) -> Row:
    """Read the record, after beginning it where there is none; needs no token."""
    with connection.transaction():
        _do(connection, me, _LIMITS, timeout=str(TIMEOUT_MS))
        _do(connection, me, _BEGIN)
        row = _do(connection, me, _READ).fetchone()
    assert row is not None, "the record was made in this transaction"
    fired_count, last_fire_at, ended, end_reason, now = row
    return Row(
        fired_count=fired_count,
        last_fire_at=None if last_fire_at is None else last_fire_at.astimezone(UTC),
        ended=ended,
        end_reason=end_reason,
        now=now.astimezone(UTC),
    )


def claim(
    connection: Connection,
    me: Holding,
    *,
    slot: datetime,
    next_at: datetime | None = None,
    max_count: int | None = None,
) -> Claim:
    """Count `slot` as fired under our term, if it is later than every slot that was fired.

    Errors: psycopg's; after one of them the claim may or may not have been made.
    """
    try:
        with _under_term(connection, me):
            claimed = _do(
                connection, me, _CLAIM, slot=slot, next_at=next_at, max_count=max_count
            ).fetchone()
            if claimed is not None:
                return Claimed(claimed[0])
            return _why_not(connection, me, slot)
    except psycopg.Error as error:
        if error.sqlstate != NOT_CURRENT:
            raise
        return NotHolder(str(error).partition("\n")[0])


def _why_not(connection: Connection, me: Holding, slot: datetime) -> Claim:
    row = _do(connection, me, _WHY_NOT).fetchone()
    assert row is not None, "the record is begun before anything is claimed"
    count, last_fire_at, term, ended, reason = row
    if ended:
        return AlreadyEnded(reason)
    if last_fire_at is not None and last_fire_at >= slot:
        # Before the count: it may be the caller's own last claim, whose answer was lost.
        return AlreadyFired(term, count, same=last_fire_at == slot)
    return CountExhausted(count)


def finish(
    connection: Connection,
    me: Holding,
    *,
    slot: datetime,
    outcome: Outcome,
    duration_s: float,
    error: str | None,
) -> bool:
    """Write how the run of `slot` went; false when it is not our holding's run any more."""
    more = {
        "slot": slot,
        "outcome": outcome,
        "duration_ms": round(duration_s * 1000),
        "error": None if error is None else error[:ERROR_TEXT_MAX],
    }
    return _write(connection, me, _FINISH, more) == 1


def skipped(connection: Connection, me: Holding, *, count: int) -> bool:
    """Count slots that were not run; false when the token is not ours."""
    return _write(connection, me, _SKIPPED, {"count": count}) is not None


def end(connection: Connection, me: Holding, *, reason: str) -> bool:
    """Mark the schedule as ended for the whole group; false when the token is not ours."""
    more = {"reason": reason, "kind": "schedule-ended"}
    return _write(connection, me, _END, more, event=True) is not None


def reopen(connection: Connection, me: Holding) -> bool:
    """Take the end back, because the settings allow more; false when the token is not ours."""
    more = {"reason": "the settings allow more runs", "kind": "schedule-reopened"}
    return _write(connection, me, _REOPEN, more, event=True) is not None


def _write(
    connection: Connection,
    me: Holding,
    statement: LiteralString,
    more: dict[str, Any],
    *,
    event: bool = False,
) -> int | None:
    """Run one statement under the fence; returns the rows it changed, None when not current."""
    try:
        with _under_term(connection, me):
            changed = _do(connection, me, statement, **more).rowcount
            if event and changed:
                _do(connection, me, _EVENT, **more)
            return changed
    except psycopg.Error as error:
        if error.sqlstate != NOT_CURRENT:
            raise
        return None


@contextmanager
def _under_term(connection: Connection, me: Holding) -> Iterator[None]:
    """Open a transaction in which the token is ours until the commit."""
    with connection.transaction():
        _do(connection, me, _LIMITS, timeout=str(TIMEOUT_MS))
        _do(connection, me, _FENCE)
        yield


def _do(
    connection: Connection, me: Holding, statement: LiteralString, **more: Any
) -> psycopg.Cursor[Any]:
    query = sql.SQL(statement).format(schema=sql.Identifier(me.schema))
    known = {"group": me.group, "name": me.name, "term": me.term, "session": me.session}
    return connection.execute(query, known | more)

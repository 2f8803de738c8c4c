"""The group's record of its schedule: what was fired last, and what is claimed next.

How it goes on (outcomes, ends) is in schedule_ends.py.

Every write is one transaction under the fence: it holds the token row FOR SHARE until its commit,
so that no takeover can slip between the check and the write, and it changes nothing when
(term, session) is not the current holding, but the count of refused claims. The record is as
durable as the database's commits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from coordinator.ports import Answered
from coordinator.protocol.messages.schedule_claims import (
    RECORD_AHEAD_MAX_S,
    SLOT_AHEAD_MAX_S,
    AlreadyEnded,
    AlreadyFired,
    Claim,
    Claimed,
    CountExhausted,
    NotHolder,
    TooEarly,
)
from coordinator.store.driver import connect as driver
from coordinator.store.sql.fence import FENCE, NOT_CURRENT
from coordinator.store.sql.statement import named

#: Longer than any of these transactions takes; beyond it a run is better skipped than late.
TIMEOUT_S = 5.0

Connection = psycopg.Connection[Any]

_BEGIN: LiteralString = """
INSERT INTO {schema}.schedule (group_id, name, updated_at)
VALUES (%(group)s, %(name)s, clock_timestamp())
ON CONFLICT (group_id, name) DO NOTHING
"""

#: `enabled` is false for a task that nobody has asked for since it ended.
_READ: LiteralString = """
SELECT
    seen.fired_count,
    seen.last_fire_at,
    seen.ended,
    COALESCE(seen.end_reason, ''),
    seen.terminated_at,
    task.changed_at,
    COALESCE(seen.last_outcome, '') = 'running',
    COALESCE(seen.term, 0),
    clock_timestamp()
FROM {schema}.schedule AS seen
LEFT JOIN {schema}.task AS task
    ON task.group_id = %(owner)s AND task.name = %(task)s AND task.enabled
WHERE seen.group_id = %(group)s AND seen.name = %(name)s
"""

#: The server's own clock says whether the slot is due (C2); a record that lies far ahead of it
#: holds nobody up, but its own slot is not fired again (C4). A run by hand has its time (X4).
_CLAIM: LiteralString = """
UPDATE {schema}.schedule
SET fired_count = fired_count + 1,
    skipped_count = skipped_count + %(skipped)s,
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
    AND (name <> '_hand' OR reserved_slot = %(slot)s AND clock_timestamp() < reserved_until)
    AND %(slot)s <= clock_timestamp() + make_interval(secs => %(slot_ahead_s)s)
    AND (
        last_fire_at IS NULL
        OR last_fire_at < %(slot)s
        OR (
            last_fire_at > clock_timestamp() + make_interval(secs => %(record_ahead_s)s)
            AND last_fire_at <> %(slot)s
        )
    )
    AND (CAST(%(max_count)s AS bigint) IS NULL OR fired_count < %(max_count)s)
RETURNING fired_count, clock_timestamp()
"""

_WHY_NOT: LiteralString = """
SELECT
    fired_count,
    last_fire_at,
    COALESCE(term, 0),
    ended,
    COALESCE(end_reason, ''),
    extract(epoch FROM %(slot)s - clock_timestamp())::double precision,
    clock_timestamp()
FROM {schema}.schedule
WHERE group_id = %(group)s AND name = %(name)s
"""

_EVENT: LiteralString = """
INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
SELECT %(group)s, %(kind)s, task_id, session, term, %(reason)s, 'schedule'
FROM {schema}.token_holder
WHERE group_id = %(group)s
"""


#: Without the fence: one who is not the holder any more tells only that it was refused.
_DENIED: LiteralString = """
UPDATE {schema}.schedule
SET denied_count = denied_count + 1
WHERE group_id = %(group)s AND name = %(name)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Owner of a schedule, and the holding of the token under which it is written.

    group: the token's name; of a task it is "OWNER/TASK".
    owner: the task's group; "" for the program of a group.
    """

    schema: str
    group: str
    term: int
    session: str
    name: str = ""  #: a group's only schedule has no name
    owner: str = ""
    task: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The record as it stands, and the database's clock in the same transaction; moments in UTC.

    The driver gives them in the session's time zone, in which arithmetic skips and repeats hours.
    """

    fired_count: int
    last_fire_at: datetime | None
    ended: bool
    end_reason: str
    terminated_at: datetime | None
    task_asked_at: (
        datetime | None
    )  #: time of the task's last definition or enabling; None: disabled
    unfinished: bool  #: the last run was claimed, and its end was never written
    term: int  #: under which the record was last written
    now: datetime


def open_connection(conninfo: str, connect_timeout_s: float) -> Connection:
    """Connect for the verbs below; a dead peer is noticed within their time."""
    given = conninfo_to_dict(conninfo)
    ours: dict[str, str | int] = {
        "connect_timeout": max(2, math.ceil(connect_timeout_s)),  # libpq takes 1 for 2
        "target_session_attrs": "primary",
    }
    missing = {key: value for key, value in ours.items() if key not in given}
    connection = driver.open_session(make_conninfo(conninfo, **missing), timeout_s=TIMEOUT_S)
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.read_only = False
    return connection


def read(connection: Connection, me: Holding) -> Row:
    """Read the record, after beginning it where there is none; needs no token."""
    with connection.transaction():
        connection.execute(driver.preamble(connection, driver.limits(TIMEOUT_S)))
        begin(connection, me)
        row = do(connection, me, _READ).fetchone()
    assert row is not None, "the record was made in this transaction"
    fired_count, last_fire_at, ended, end_reason, terminated_at, asked_at, running, term, now = row
    return Row(
        fired_count=fired_count,
        last_fire_at=_in_utc(last_fire_at),
        ended=ended,
        end_reason=end_reason,
        terminated_at=_in_utc(terminated_at),
        task_asked_at=_in_utc(asked_at),
        unfinished=running,
        term=term,
        now=now.astimezone(UTC),
    )


def begin(connection: Connection, me: Holding) -> None:
    """Begin the record where there is none, in the transaction that is open."""
    do(connection, me, _BEGIN)


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def claim(
    connection: Connection,
    me: Holding,
    *,
    slot: datetime,
    next_at: datetime | None = None,
    max_count: int | None = None,
    skipped: int = 0,
) -> Answered:
    """Count `slot` as fired under our term, if it is due and later than every slot that was fired.

    skipped: slots between the last one that was fired and this one, which nobody runs.
    Errors: psycopg's; after one of them the claim may or may not have been made.
    """
    more = {"slot": slot, "next_at": next_at, "max_count": max_count, "skipped": skipped}
    limits = {"slot_ahead_s": SLOT_AHEAD_MAX_S, "record_ahead_s": RECORD_AHEAD_MAX_S}
    try:
        with under_term(connection, me):
            claimed = do(connection, me, _CLAIM, **more, **limits).fetchone()
            if claimed is not None:
                return Answered(Claimed(claimed[0]), claimed[1].astimezone(UTC))
            return _why_not(connection, me, slot)
    except psycopg.Error as error:
        if error.sqlstate != NOT_CURRENT:
            raise
        _count_denied(connection, me)
        return Answered(NotHolder(str(error).partition("\n")[0]), None)


def _count_denied(connection: Connection, me: Holding) -> None:
    """Count a claim that the fence refused; without the count the claim is refused all the same."""
    with suppress(psycopg.Error), connection.transaction():
        connection.execute(driver.preamble(connection, driver.limits(TIMEOUT_S)))
        do(connection, me, _DENIED)


def _why_not(connection: Connection, me: Holding, slot: datetime) -> Answered:
    row = do(connection, me, _WHY_NOT, slot=slot).fetchone()
    assert row is not None, "the record is begun before anything is claimed"
    count, last_fire_at, term, ended, reason, ahead_s, now = row
    answer: Claim
    if ended:
        answer = AlreadyEnded(reason)
    elif ahead_s > SLOT_AHEAD_MAX_S:
        answer = TooEarly(ahead_s)
        why = f"the run of {slot.isoformat()} is {ahead_s:.1f} s ahead of the database's clock"
        tell(connection, me, "run-refused", why)
    elif last_fire_at is not None and last_fire_at >= slot:
        # Before the count: it may be the caller's own last claim, whose answer was lost.
        answer = AlreadyFired(term, count, same=last_fire_at == slot)
    else:
        answer = CountExhausted(count)
    if not (isinstance(answer, AlreadyFired) and answer.same and term == me.term):
        do(connection, me, _DENIED)  # else it is a claim of our own, whose answer was lost
    return Answered(answer, now.astimezone(UTC))


def tell(connection: Connection, me: Holding, kind: str, reason: str) -> None:
    """Write an event in the transaction that is open."""
    do(connection, me, _EVENT, kind=kind, reason=reason)


@contextmanager
def under_term(connection: Connection, me: Holding) -> Iterator[None]:
    """Open a transaction in which the token is ours until the commit.

    Errors: a psycopg.Error of state NOT_CURRENT when it is not.
    """
    with connection.transaction():
        connection.execute(driver.preamble(connection, driver.limits(TIMEOUT_S)))
        do(connection, me, FENCE)
        yield


def do(
    connection: Connection, me: Holding, statement: LiteralString, **more: Any
) -> psycopg.Cursor[Any]:
    """Run a statement with the names of a holding."""
    known = {
        "group": me.group,
        "name": me.name,
        "term": me.term,
        "session": me.session,
        "owner": me.owner,
        "task": me.task,
        "node": me.node,
    }
    return connection.execute(named(statement, me.schema), known | more)

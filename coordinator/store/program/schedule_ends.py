"""Ends of a schedule's runs, and of the schedule itself.

A schedule that its error policy ends is ended for the whole group, in the transaction that writes
the failed run down; of a task the definition is disabled with it, so that no node takes it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeVar

import psycopg

from coordinator.protocol.messages.schedule_claims import Outcome
from coordinator.store.driver.texts import ascii_text, clean_text
from coordinator.store.program.asked_runs import NAME as BY_HAND
from coordinator.store.program.schedule import (
    Connection,
    Holding,
    do,
    tell,
    under_term,
)
from coordinator.store.sql.fence import NOT_CURRENT
from coordinator.store.sql.view import channel_of

T = TypeVar("T")

#: An error's text is for a person who looks why; the whole of it is in the log.
ERROR_TEXT_MAX = 1000

#: The end is counted once, though it is written again when the answer was lost.
_FINISH: LiteralString = """
UPDATE {schema}.schedule
SET last_outcome = %(outcome)s,
    last_error = %(error)s,
    last_duration_ms = %(duration_ms)s,
    last_finished_at = clock_timestamp(),
    ok_count = ok_count + (last_finished_at IS NULL AND %(outcome)s = 'ok')::int,
    failed_count = failed_count + (last_finished_at IS NULL AND %(outcome)s = 'failed')::int,
    stopped_count = stopped_count + (last_finished_at IS NULL AND %(outcome)s = 'stopped')::int,
    skipped_count = skipped_count + (last_finished_at IS NULL AND %(outcome)s = 'skipped')::int,
    updated_at = clock_timestamp()
WHERE group_id = %(group)s
    AND name = %(name)s
    AND term = %(term)s
    AND last_fire_at = %(slot)s
"""

#: An event for the end of a run by hand, once: before the end is written (X2).
_TELL_BY_HAND: LiteralString = """
INSERT INTO {schema}.event (group_id, kind, task_id, session, term, reason, who)
SELECT %(group)s, %(kind)s, %(node)s, %(session)s, %(term)s, %(told)s, 'schedule'
FROM {schema}.schedule AS seen
WHERE seen.group_id = %(group)s AND seen.name = %(name)s AND seen.term = %(term)s
    AND seen.last_fire_at = %(slot)s AND seen.last_finished_at IS NULL
"""

#: Under our term nothing runs before this: what is unfinished was begun by a process that is dead.
_SETTLE: LiteralString = """
UPDATE {schema}.schedule
SET last_outcome = 'died',
    last_error = %(error)s,
    died_count = died_count + 1,
    updated_at = clock_timestamp()
WHERE group_id = %(group)s AND name = %(name)s AND last_outcome = 'running'
RETURNING fired_count, last_fire_at, COALESCE(term, 0)
"""

_END: LiteralString = """
UPDATE {schema}.schedule
SET ended = true,
    end_reason = %(reason)s,
    terminated_at = CASE WHEN %(terminated)s THEN clock_timestamp() END,
    skipped_count = skipped_count + %(skipped)s,
    next_fire_at = NULL,
    term = %(term)s,
    updated_at = clock_timestamp()
WHERE group_id = %(group)s AND name = %(name)s AND NOT ended
"""

_REOPEN: LiteralString = """
UPDATE {schema}.schedule
SET ended = false,
    end_reason = NULL,
    terminated_at = NULL,
    term = %(term)s,
    updated_at = clock_timestamp()
WHERE group_id = %(group)s AND name = %(name)s AND ended
"""

#: Its moment is that of the schedule's end: what was asked for later begins it anew.
_DISABLE_TASK: LiteralString = """
UPDATE {schema}.task AS task
SET enabled = false,
    end_reason = %(reason)s,
    changed_at = seen.terminated_at,
    changed_by = %(node)s
FROM {schema}.schedule AS seen
WHERE task.group_id = %(owner)s AND task.name = %(task)s AND task.enabled
    AND seen.group_id = %(group)s AND seen.name = %(name)s
"""

_TASK_ERROR: LiteralString = """
INSERT INTO {schema}.task_node AS known (group_id, task, node, state, term, error, told_at)
SELECT task.group_id, task.name, %(node)s, 'running', %(term)s, %(error)s, clock_timestamp()
FROM {schema}.task AS task
WHERE task.group_id = %(owner)s AND task.name = %(task)s AND NOT task.deleted
ON CONFLICT (group_id, task, node) DO UPDATE
SET term = excluded.term, error = excluded.error, told_at = excluded.told_at
"""

_RAISE: LiteralString = "SELECT {schema}.coord_raise_version(%(owner)s, %(channel)s, true)"


@dataclass(frozen=True, slots=True)
class Died:
    """A run whose end nobody wrote down, because its process or node died."""

    count: int
    slot: datetime
    term: int


def finish(
    connection: Connection,
    me: Holding,
    *,
    slot: datetime,
    outcome: Outcome,
    duration_s: float,
    error: str | None,
    terminate: str | None = None,
) -> bool:
    """Write how the run of `slot` went; false when it is not our holding's run any more.

    terminate: why the error policy ends the schedule, in the same transaction; None: it goes on.
    """
    more = {
        "slot": slot,
        "outcome": outcome,
        "duration_ms": round(duration_s * 1000),
        "error": None if error is None else clean_text(error, ERROR_TEXT_MAX),
        "reason": None if terminate is None else clean_text(terminate, ERROR_TEXT_MAX),
    }
    try:
        return _finish(connection, me, more)
    except psycopg.errors.UntranslatableCharacter:
        # The database's encoding has no such letter.
        plain = {key: more[key] and ascii_text(str(more[key])) for key in ("error", "reason")}
        return _finish(connection, me, more | plain)


def _finish(connection: Connection, me: Holding, more: dict[str, Any]) -> bool:
    def body() -> bool:
        if me.name == BY_HAND:
            # All groups may read events, and not what a program says of its failure.
            took = f"{more['slot'].isoformat()} after {more['duration_ms'] / 1000:.1f} s"
            do(connection, me, _TELL_BY_HAND, kind=f"run {more['outcome']}", told=took, **more)
        if do(connection, me, _FINISH, **more).rowcount == 0:
            return False
        if me.owner and more["error"] is not None:
            do(connection, me, _TASK_ERROR, **more)
        if more["reason"] is not None:
            _end(connection, me, terminated=True, **more)
            _disable_task(connection, me, more["reason"])
        return True

    return bool(_whole(connection, me, body))


def _disable_task(connection: Connection, me: Holding, reason: str) -> None:
    if me.owner and do(connection, me, _DISABLE_TASK, reason=reason).rowcount:
        do(connection, me, _RAISE, channel=channel_of(me.schema, me.owner))


def settle(connection: Connection, me: Holding) -> Died | None:
    """Write down that a run has died, if the record has one that never ended, and tell of it.

    Returns None when there is none, or the token is not ours.
    """
    error = "its end was never written: its process, or its node, died"

    def body() -> Died | None:
        row = do(connection, me, _SETTLE, error=error).fetchone()
        if row is None:
            return None
        died = Died(row[0], row[1].astimezone(UTC), row[2])
        text = f"run {died.count} ({died.slot.isoformat()}) under term {died.term}: {error}"
        tell(connection, me, "run-died", text)
        if me.owner:
            do(connection, me, _TASK_ERROR, error=text)
        return died

    return _whole(connection, me, body)


def end(connection: Connection, me: Holding, *, reason: str, skipped: int = 0) -> bool:
    """Mark the schedule as ended for the whole group; false when the token is not ours."""

    def body() -> bool:
        _end(connection, me, terminated=False, reason=reason, skipped=skipped)
        return True

    return bool(_whole(connection, me, body))


def _end(connection: Connection, me: Holding, *, terminated: bool, **more: Any) -> None:
    more = {"skipped": 0, **more, "terminated": terminated}
    if do(connection, me, _END, **more).rowcount:
        kind = "schedule-terminated" if terminated else "schedule-ended"
        tell(connection, me, kind, more["reason"])


def reopen(connection: Connection, me: Holding, *, reason: str) -> bool:
    """Take the end back; false when the token is not ours."""

    def body() -> bool:
        if do(connection, me, _REOPEN).rowcount:
            tell(connection, me, "schedule-reopened", reason)
        return True

    return bool(_whole(connection, me, body))


def alert(connection: Connection, me: Holding, *, kind: str, reason: str) -> bool:
    """Write an event that an operator should hear of; false when the token is not ours."""

    def body() -> bool:
        tell(connection, me, kind, reason)
        return True

    return bool(_whole(connection, me, body))


def _whole(connection: Connection, me: Holding, body: Callable[[], T]) -> T | None:
    """Run statements under the fence, all or none; None when the token is not ours."""
    try:
        with under_term(connection, me):
            return body()
    except psycopg.Error as error:
        if error.sqlstate != NOT_CURRENT:
            raise
        return None

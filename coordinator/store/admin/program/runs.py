"""Runs of tasks by hand, as an administrator asks for them and follows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg

from coordinator.errors import ConditionFalseError, DatabaseRefusedError, NotFoundError
from coordinator.protocol.group.asked_runs import RecordSeen, RunState, state_of
from coordinator.store.admin.connection import AdminConnection, Cursor
from coordinator.store.admin.planned import REFUSED, UNKNOWN
from coordinator.store.driver.errors import database_error
from coordinator.store.sql.statement import named

#: Seconds after the time of a request for which a claim may be under way that began within it.
CLAIM_S = 10.0

ASK: LiteralString = """
SELECT {schema}.coord_ask_run(%(group)s, %(task)s, %(who)s, %(reason)s) AS slot
"""

#: The record, who runs it, and for a slot that others have followed the event that tells its end.
LOOK: LiteralString = """
SELECT
    kept.reserved_slot AS reserved,
    coalesce(
        kept.reserved_until < clock_timestamp() - make_interval(secs => %(claim_s)s), true
    ) AS expired,
    kept.last_fire_at AS fired,
    coalesce(kept.last_outcome, '') AS outcome,
    coalesce(token.session IS NULL OR token.term <> kept.term, true) AS holding_over,
    kept.last_error AS error,
    CAST(kept.last_duration_ms / 1000.0 AS double precision) AS duration_s,
    coalesce(kept.term, 0) AS term,
    held.task_id AS node,
    (
        SELECT CASE WHEN told.kind = 'run-died' THEN 'died' ELSE substr(told.kind, 5) END
        FROM {schema}.event AS told
        WHERE told.group_id = kept.group_id
            AND told.kind IN ('run ok', 'run failed', 'run stopped', 'run-died')
            AND strpos(told.reason, CAST(%(slot_text)s AS text)) > 0
        ORDER BY told.id DESC
        LIMIT 1
    ) AS ended
FROM {schema}.schedule AS kept
LEFT JOIN {schema}.token_holder AS token ON token.group_id = kept.group_id
LEFT JOIN {schema}.token_history AS held
    ON held.group_id = kept.group_id AND held.term = kept.term
WHERE kept.group_id = %(group)s || '/' || %(task)s AND kept.name = '_hand'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRun:
    """A request for a run, as it stands; node, term, error and duration_s are those of its run."""

    slot: datetime
    state: RunState
    node: str | None = None
    term: int | None = None
    error: str | None = None
    duration_s: float | None = None


def ask(
    database: AdminConnection, group: str, task: str, *, who: str, reason: str | None
) -> datetime:
    """Ask for a run; return its slot.

    Errors: ConditionFalseError with what is in the way; NotFoundError; DatabaseRefusedError.
    """

    def body(cursor: Cursor) -> datetime:
        values = {"group": group, "task": task, "who": who, "reason": reason}
        row = cursor.execute(named(ASK, database.schema), values).fetchone()
        assert row is not None, "a function returns one row"
        slot: datetime = row["slot"]
        return slot

    try:
        return database.write(body)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseRefusedError(
            f"{database.where}: this login may not start tasks of {group}: a"
            " system_administrator's login does it (see `coord db roles`)"
        ) from error
    except psycopg.Error as error:
        said = error.diag.message_primary or ""
        if error.sqlstate == REFUSED:
            raise ConditionFalseError(said) from error
        if error.sqlstate == UNKNOWN:
            raise NotFoundError(said) from error
        raise database_error(error, database.where) from error


def look(database: AdminConnection, group: str, task: str, slot: datetime) -> AskedRun:
    """Return what has become of a request."""
    rows = database.read(LOOK, group=group, task=task, claim_s=CLAIM_S, slot_text=slot.isoformat())
    if not rows:
        return AskedRun(slot=slot, state=RunState.EXPIRED)  # the task was deleted, and is forgotten
    (row,) = rows
    seen = RecordSeen(
        reserved=row["reserved"],
        expired=row["expired"],
        fired=row["fired"],
        outcome=row["outcome"],
        holding_over=row["holding_over"],
    )
    state = state_of(slot, seen, row["ended"])
    if seen.fired != slot:
        return AskedRun(slot=slot, state=state)
    return AskedRun(
        slot=slot,
        state=state,
        node=row["node"],
        term=row["term"],
        error=row["error"],
        duration_s=row["duration_s"],
    )

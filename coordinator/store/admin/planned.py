"""Planned changes of a group, as an administrator asks for them, ends them, and looks at them.

Each is one statement. The triggers of the table do the rest (refuse, notify, write the event), so
that plain SQL does the same (docs/planned.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg

from coordinator.errors import ConditionFalseError, DatabaseRefusedError, NotFoundError
from coordinator.protocol.messages.planned import PlannedChange, PlannedKind, PlannedOutcome
from coordinator.protocol.rules.planned import hindrance
from coordinator.store.admin.connection import AdminConnection, Cursor, Row, Rows
from coordinator.store.admin.look import group_settings
from coordinator.store.admin.queries import PLANNED
from coordinator.store.driver.errors import database_error
from coordinator.store.node.roster import READ_ROSTER, SILENT_INTERVALS_MAX, candidate_of
from coordinator.store.sql.planned_columns import planned_of
from coordinator.store.sql.statement import named

ASK: LiteralString = """
INSERT INTO {schema}.planned_change (
    group_id, kind, node, value, asked_by, reason, due_at, until_at
)
VALUES (
    %(group)s, %(kind)s, %(node)s, %(value)s::integer, %(who)s, %(reason)s,
    coalesce(
        %(at)s::timestamptz, clock_timestamp() + make_interval(secs => %(in_s)s::float8)
    ),
    coalesce(%(at)s::timestamptz, clock_timestamp()) + make_interval(secs => %(for_s)s::float8)
        + make_interval(secs => coalesce(%(in_s)s::float8, 0))
)
RETURNING id
"""

END: LiteralString = """
UPDATE {schema}.planned_change
SET outcome = %(outcome)s, outcome_reason = %(reason)s, ended_by = %(who)s
WHERE group_id = %(group)s AND outcome IS NULL AND kind = ANY(%(kinds)s::text[])
    AND (%(node)s::text IS NULL OR node = %(node)s)
RETURNING id, kind, node
"""

END_ONE: LiteralString = """
UPDATE {schema}.planned_change
SET outcome = %(outcome)s, outcome_reason = %(reason)s, ended_by = %(who)s
WHERE group_id = %(group)s AND id = %(id)s AND outcome IS NULL AND agreed_at IS NULL
RETURNING id
"""

#: Tokens of a group's work, or those of one node with the observer's, that a live session holds. A
#: session that is silent for its own interval runs nothing any more.
HELD: LiteralString = """
SELECT token.group_id AS token, token.task_id AS node
FROM {schema}.token_holder AS token
JOIN {schema}.health_check AS node
    ON node.group_id = %(group)s AND node.task_id = token.task_id AND node.session = token.session
WHERE (token.group_id = %(group)s OR starts_with(token.group_id, %(group)s || '/'))
    AND node.ended_at IS NULL
    AND clock_timestamp() - node.last_heartbeat < node.liveness_ms * interval '1 ms'
    AND CASE
        WHEN %(node)s::text IS NULL THEN token.group_id <> %(group)s || '/_observer'
        ELSE node.task_id = %(node)s
    END
ORDER BY token.group_id
"""

#: Conditions of a switchover, as the holder would find them.
READINESS: LiteralString = """
SELECT
    record.hosts_tasks,
    (
        SELECT node.task_id
        FROM {schema}.token_holder AS token
        JOIN {schema}.health_check AS node
            ON node.group_id = token.group_id AND node.task_id = token.task_id
            AND node.session = token.session AND node.ended_at IS NULL
        WHERE token.group_id = %(group)s
    ) AS holder,
    {planned} AS planned
FROM {schema}.group_record AS record
WHERE record.group_id = %(group)s
"""

REFUSED = "CF003"
UNKNOWN = "CF004"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A planned change as it is asked for; moments are server times, spans seconds.

    at, in_s: when it begins to count, as a moment or from now on; neither: at once.
    for_s:    how long it stands, from its beginning on.
    """

    kind: PlannedKind
    node: str | None = None
    value: int | None = None
    at: str | None = None
    in_s: float | None = None
    for_s: float | None = None
    reason: str | None = None


class PlannedStore:
    """Planned changes over one connection."""

    __slots__ = ("_database",)

    def __init__(self, database: AdminConnection) -> None:
        self._database = database

    def ask(self, group: str, asked: Asked, *, who: str) -> int:
        """Ask for a change; return its number.

        Errors: ConditionFalseError with what is in the way; NotFoundError; DatabaseRefusedError.
        """
        values: dict[str, object] = {
            "group": group,
            "kind": str(asked.kind),
            "node": asked.node,
            "value": asked.value,
            "at": asked.at,
            "in_s": asked.in_s,
            "for_s": asked.for_s,
            "who": who,
            "reason": asked.reason,
        }
        if asked.kind is PlannedKind.PRIORITY:
            # The one before ends in the same transaction: there is one for each node.
            ending = {"kinds": [str(asked.kind)], "outcome": str(PlannedOutcome.DONE)}
            (row,) = self._write(group, ASK, values, first=(END, {**values, **ending}))
        else:
            (row,) = self._write(group, ASK, values)
        return int(row["id"])

    def end(
        self,
        group: str,
        kinds: tuple[PlannedKind, ...],
        outcome: PlannedOutcome,
        *,
        node: str | None = None,
        who: str,
        reason: str | None = None,
    ) -> Rows:
        """End the open changes of these kinds, of one node or of any; return them.

        Errors: ConditionFalseError where a node has just ended one; DatabaseRefusedError.
        """
        values: dict[str, object] = {
            "group": group,
            "kinds": [str(kind) for kind in kinds],
            "outcome": str(outcome),
            "node": node,
            "who": who,
            "reason": reason,
        }
        return self._write(group, END, values)

    def end_one(
        self, group: str, number: int, outcome: PlannedOutcome, *, who: str, reason: str | None
    ) -> None:
        """End one open change.

        Errors: ConditionFalseError where it has ended, or is in force; DatabaseRefusedError.
        """
        values = {
            "group": group,
            "id": number,
            "outcome": str(outcome),
            "who": who,
            "reason": reason,
        }
        if not self._write(group, END_ONE, values):
            raise ConditionFalseError(f"{group}: change {number} is not on its way any more")

    def look(self, number: int) -> Row:
        """Return one change, open or over."""
        (row,) = self._database.read(PLANNED, group_id=None, id=number)
        return row

    def open(self, group: str | None = None) -> Rows:
        """Return the open changes of a group, or of all."""
        return self._database.read(PLANNED, group_id=group, id=None)

    def settings(self, group: str) -> Rows:
        """Return the intervals of a group's live nodes.

        Errors: NotFoundError when there is no such group.
        """
        if not self._database.read(group_settings.GROUP, group=group):
            raise NotFoundError(f"there is no group {group!r}")
        return self._database.read(group_settings.NODES, group=group)

    def held(self, group: str, node: str | None = None) -> Rows:
        """Return the tokens of a group's work that live sessions hold, or those of one node."""
        return self._database.read(HELD, group=group, node=node)

    def hindrance(self, group: str, asked: Asked) -> str:
        """Return what would be in the way of a switchover at this moment; empty: nothing.

        Errors: NotFoundError when there is no such group.
        """
        values = {"group": group, "intervals": SILENT_INTERVALS_MAX}
        found = self._database.read(READINESS, group=group)
        if not found:
            raise NotFoundError(f"there is no group {group!r}")
        (row,) = found
        if row["hosts_tasks"]:
            return ""  # the database refuses it, with what to do instead
        if row["holder"] is None:
            return "nobody is active, so there is nothing to hand over"
        roster = tuple(
            candidate_of(tuple(each.values()))
            for each in self._database.read(READ_ROSTER, **values)
        )
        change = PlannedChange(id=0, kind=asked.kind, node=asked.node)
        return hindrance(change, planned_of(row["planned"]), row["holder"], roster)

    def _write(
        self,
        group: str,
        statement: LiteralString,
        values: dict[str, object],
        *,
        first: tuple[LiteralString, dict[str, object]] | None = None,
    ) -> Rows:
        def body(cursor: Cursor) -> Rows:
            if first is not None:
                cursor.execute(named(first[0], self._database.schema), first[1])
            cursor.execute(named(statement, self._database.schema), values)
            return cursor.fetchall()

        try:
            return self._database.write(body)
        except psycopg.errors.UniqueViolation as error:
            raise ConditionFalseError(f"{group}: another one was asked for just now") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseRefusedError(
                f"{self._database.where}: this login may not ask for changes of {group}: a"
                " system_administrator's login does it (see `coord db roles`)"
            ) from error
        except psycopg.Error as error:
            said = error.diag.message_primary or ""
            if error.sqlstate == REFUSED:
                raise ConditionFalseError(said) from error
            if error.sqlstate == UNKNOWN:
                raise NotFoundError(said) from error
            raise database_error(error, self._database.where) from error

"""Planned changes of a group, as an administrator asks for them, ends them, and looks at them.

Each is one statement. What it must do besides (refuse, notify, write the event) is done by the
triggers of the table, so that plain SQL does the same (docs/planned.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg

from coordinator.errors import ConditionFalseError, DatabaseRefusedError, NotFoundError
from coordinator.protocol.messages.planned import PlannedKind, PlannedOutcome
from coordinator.store.admin.connection import AdminConnection, Cursor, Row, Rows
from coordinator.store.driver.errors import database_error
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

#: Ages and rests by the server's clock.
LOOK: LiteralString = """
SELECT
    change.id, change.group_id, change.kind, change.node, change.value, change.state,
    change.asked_at, change.asked_by, change.reason, change.due_at, change.until_at,
    change.ended_at, change.ended_by, change.outcome_reason,
    CAST(EXTRACT(EPOCH FROM statement_timestamp() - change.asked_at) AS double precision) AS age_s,
    CAST(EXTRACT(EPOCH FROM change.due_at - statement_timestamp()) AS double precision) AS wait_s,
    CAST(EXTRACT(EPOCH FROM change.until_at - statement_timestamp()) AS double precision) AS left_s
FROM {schema}.sys_planned_changes AS change
WHERE (%(group_id)s::text IS NULL OR change.group_id = %(group_id)s)
    AND (%(id)s::bigint IS NULL OR change.id = %(id)s)
    AND (%(id)s::bigint IS NOT NULL OR change.state IN ('open', 'waiting'))
ORDER BY change.group_id, change.id
"""

#: Tokens that a node holds, and the tasks among them; the observer's counts as well.
HELD_BY: LiteralString = """
SELECT
    count(*) AS held_count,
    count(*) FILTER (WHERE token.group_id LIKE '%%/%%' AND token.group_id NOT LIKE '%%/\\_observer')
        AS task_count
FROM {schema}.health_check AS node
JOIN {schema}.token_holder AS token ON token.session = node.session
WHERE node.group_id = %(group)s AND node.task_id = %(node)s AND node.ended_at IS NULL
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

    def look(self, number: int) -> Row:
        """Return one change, open or over."""
        (row,) = self._database.read(LOOK, group_id=None, id=number)
        return row

    def open(self, group: str | None = None) -> Rows:
        """Return the open changes of a group, or of all."""
        return self._database.read(LOOK, group_id=group, id=None)

    def held_by(self, group: str, node: str) -> Row:
        """Return how many tokens a node holds."""
        return self._database.read(HELD_BY, group=group, node=node)[0]

    def _write(self, group: str, statement: LiteralString, values: dict[str, object]) -> Rows:
        def body(cursor: Cursor) -> Rows:
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

"""People's side of operations: create, cancel, look. The rules are the database's functions'."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg.rows import tuple_row

from coordinator.errors import CoordError, DatabaseRefusedError, NotFoundError, StatementError
from coordinator.protocol.operations.statement import CancelTask, CreateTask, Statement
from coordinator.store.admin.connection import AdminConnection, Cursor, Row, Rows
from coordinator.store.driver.errors import database_error
from coordinator.store.schema.aliases import misread
from coordinator.store.sql.statement import named

T = TypeVar("T")

CREATE: LiteralString = """
SELECT {schema}.sys_create_task(
    %(type)s, %(location)s, %(place)s, %(options)s::jsonb, %(name)s
)::text AS id
"""
CANCEL: LiteralString = "SELECT {schema}.sys_cancel_task(%(ref)s)::text AS id"

TASKS: LiteralString = """
SELECT shown.*,
    extract(epoch FROM clock_timestamp() - shown.created_at)::float8 AS created_age_s
FROM {schema}.sys_tasks AS shown
WHERE %(all)s OR shown.finished_at IS NULL
    OR shown.created_at > clock_timestamp() - interval '1 day'
ORDER BY shown.created_at, shown.id
"""
TASK: LiteralString = """
SELECT * FROM {schema}.sys_tasks AS shown
WHERE shown.id = {schema}.coord_find_operation(%(ref)s)
"""
SUBTASKS: LiteralString = """
SELECT * FROM {schema}.sys_subtasks AS shown
WHERE shown.parent_id = {schema}.coord_find_operation(%(ref)s)
ORDER BY shown.kind, shown.group_id, shown.entity
"""
TYPES: LiteralString = """
SELECT known.name, known.locations, known.options,
    nullif(known.group_id, '') AS cluster
FROM {schema}.operation_type AS known
ORDER BY known.group_id, known.name
"""
#: Names for the completion of `coord sql`; no more of them than a person looks through.
NAMES: LiteralString = """
(SELECT 'cluster' AS kind, shown.cluster AS name FROM {schema}.sys_clusters AS shown LIMIT 500)
UNION ALL
(SELECT 'node', shown.node FROM {schema}.sys_nodes AS shown LIMIT 500)
UNION ALL
(SELECT 'task', coalesce(shown.name, shown.id::text) FROM {schema}.sys_tasks AS shown
    WHERE shown.is_abortable LIMIT 500)
"""

#: States with which our functions refuse a statement.
REFUSALS = ("42601", "0A000", "22023", "42704", "42710", "55000")
NOT_PERMITTED = "42501"
UNDEFINED_TABLE = "42P01"


class Operations:
    """One connection of a person."""

    __slots__ = ("_database",)

    def __init__(self, conninfo: str, schema: str, where: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._database = AdminConnection(conninfo, schema, where, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; never waits."""
        self._database.close()

    def run(self, statement: Statement, at: Mapping[str, int] | None = None) -> str:
        """Carry out a statement; return the id of its operation.

        at: the places of the statement's parts, as its parser told them.
        Errors: StatementError; DatabaseRefusedError for a login without the role.
        """
        match statement:
            case CreateTask():
                options = {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in statement.options
                }
                values: dict[str, object] = {
                    "type": statement.type,
                    "location": str(statement.location),
                    "place": statement.place,
                    "options": json.dumps(options),
                    "name": statement.name,
                }
                return self._called(CREATE, values, at or {})
            case CancelTask(ref):
                return self._called(CANCEL, {"ref": ref}, at or {})

    def tasks(self, *, every: bool = False) -> Rows:
        """Return rows of sys.tasks: those of the last day and the unfinished ones, or all.

        Each row has one column more, `created_age_s`: its age by the server's clock.
        """
        return self._database.read(TASKS, all=every)

    def task(self, ref: str) -> Row:
        """Return the row of sys.tasks that a name or an id means.

        Errors: NotFoundError.
        """
        rows = self._database.read(TASK, ref=ref)
        if not rows:
            raise NotFoundError(f"there is no operation {ref!r}: `coord operation list` shows them")
        return rows[0]

    def subtasks(self, ref: str) -> Rows:
        """Return the rows of sys.subtasks of an operation."""
        return self._database.read(SUBTASKS, ref=ref)

    def types(self) -> Rows:
        """Return the declared types, with the kinds of their options."""
        return self._database.read(TYPES)

    def names(self) -> Rows:
        """Return (kind, name) of the clusters, nodes and unfinished operations."""
        return self._database.read(NAMES)

    def select(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the columns and the rows of a person's query; it cannot write.

        Columns of one name get numbers, as in id, id_2: documents have rows by name. A view of
        `sys` that is not of this connection's schema is refused: its rows are another's.
        Errors: StatementError with the server's state, place and hint.
        """

        def body(cursor: Cursor) -> tuple[list[str], list[tuple[Any, ...]]]:
            another = misread(cursor.connection, self._database.schema, query)
            if another:
                raise StatementError(another, UNDEFINED_TABLE)
            with cursor.connection.cursor(row_factory=tuple_row) as answering:
                answering.execute(query.encode())
                names = [column.name for column in answering.description or ()]
                return _distinct(names), answering.fetchall()

        return self._told(lambda: self._database.read_in(body), {}, own=False)

    # --- inside -----------------------------------------------------------------------------------

    def _called(self, call: LiteralString, values: dict[str, object], at: Mapping[str, int]) -> str:
        def body(cursor: Cursor) -> str:
            row = cursor.execute(named(call, self._database.schema), values).fetchone()
            assert row is not None, "a function has one row"
            return str(row["id"])

        return self._told(lambda: self._database.write(body), at, own=True)

    def _told(self, work: Callable[[], T], at: Mapping[str, int], *, own: bool) -> T:
        try:
            return work()
        except (psycopg.Error, CoordError) as error:
            cause = error if isinstance(error, psycopg.Error) else error.__cause__
            if not isinstance(cause, psycopg.Error):
                raise
            raise self._judged(cause, at, own=own) from cause

    def _judged(self, error: psycopg.Error, at: Mapping[str, int], *, own: bool) -> CoordError:
        diagnostic, state = error.diag, error.sqlstate or ""
        if own and state == NOT_PERMITTED:
            return DatabaseRefusedError(
                f"{self._database.where}: permission denied: only a login of the role"
                " system_administrator creates and cancels tasks (SQLSTATE 42501);"
                " see `coord db roles`"
            )
        if state in REFUSALS if own else state[:2] in ("42", "22", "25", "0A", "21"):
            place = at.get(diagnostic.column_name or "") if own else _offset(diagnostic)
            return StatementError(
                diagnostic.message_primary or "refused",
                state,
                place,
                hint=diagnostic.message_hint or "",
            )
        return database_error(error, self._database.where)


def _offset(diagnostic: psycopg.errors.Diagnostic) -> int | None:
    place = diagnostic.statement_position
    return int(place) - 1 if place else None


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names with numbers behind those that stand there already."""
    told: list[str] = []
    for name in names:
        number, another = 2, name
        while another in told or (another != name and another in names):
            another, number = f"{name}_{number}", number + 1
        told.append(another)
    return told

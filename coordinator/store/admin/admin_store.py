"""Commands of people: define, move and list tasks, evict nodes, suspend observers.

Plain psycopg, without SQLAlchemy: these commands must start fast, and `coord run` uses it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import LiteralString, Self, TypeVar

import psycopg

from coordinator.errors import DatabaseRefusedError, NotFoundError, TokenLostError
from coordinator.protocol.messages.group_record import GroupRecord, TaskDef, TasksPolicy
from coordinator.store.admin import declared_tasks, task_definitions, task_queries
from coordinator.store.admin import nodes as node_admin
from coordinator.store.admin import policy as task_policy
from coordinator.store.admin.connection import AdminConnection, Cursor, Row, Rows
from coordinator.store.admin.task_definitions import Change
from coordinator.store.driver.errors import database_error
from coordinator.store.node.group_record import READ_RECORD, Known, record_of
from coordinator.store.sql.fence import NOT_CURRENT
from coordinator.store.sql.statement import named
from coordinator.store.sql.task_columns import task_of

T = TypeVar("T")

SAVE_CURSOR: LiteralString = """
SELECT {schema}.coord_save_cursor(
    %(group)s, %(task)s, %(term)s::bigint, %(session)s::uuid, %(cursor)s::jsonb
)
"""


class AdminStore:
    """One connection. Every change is one transaction, an event, and a new version of the group."""

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

    # --- tasks ------------------------------------------------------------------------------------

    def add(
        self,
        group: str,
        definition: TaskDef,
        *,
        who: str,
        origin: str = "cli",
        reason: str | None = None,
    ) -> TaskDef:
        """Add a task; returns it with its revision.

        Errors: DuplicateTaskError; ConfigError for its name; DatabaseRefusedError.
        """
        return self._change(
            group, who, reason, lambda change: task_definitions.add(change, definition, origin)
        )

    def change(
        self, group: str, definition: TaskDef, *, who: str, reason: str | None = None
    ) -> TaskDef:
        """Replace the definition of a task; returns it with its revision.

        Errors: NotFoundError; as `add`.
        """
        return self._change(
            group, who, reason, lambda change: task_definitions.change_to(change, definition)
        )

    def enable(self, group: str, task: str, *, who: str, reason: str | None = None) -> bool:
        """Let a task run; false when it is enabled already.

        Errors: NotFoundError, DatabaseRefusedError.
        """
        return self._switch(group, task, who, reason, enabled=True)

    def disable(self, group: str, task: str, *, who: str, reason: str | None = None) -> bool:
        """Let a task run nowhere; false when it is disabled already.

        Errors: NotFoundError, DatabaseRefusedError.
        """
        return self._switch(group, task, who, reason, enabled=False)

    def delete(self, group: str, task: str, *, who: str, reason: str | None = None) -> None:
        """Delete a task.

        Errors: NotFoundError, DatabaseRefusedError.
        """
        self._change(group, who, reason, lambda change: task_definitions.delete(change, task))

    def move(
        self,
        group: str,
        task: str,
        *,
        preferred: str | None,
        pinned: bool | None = None,
        who: str,
        reason: str | None = None,
    ) -> None:
        """Set the preferred node; pinned None leaves `pinned` unchanged.

        Errors: NotFoundError, DatabaseRefusedError.
        """

        def body(change: Change) -> None:
            task_definitions.move(change, task, preferred=preferred, pinned=pinned)

        self._change(group, who, reason, body)

    def declare(self, group: str, definitions: Sequence[TaskDef], *, who: str) -> tuple[str, ...]:
        """Add the tasks that are missing, and change those that a file defined otherwise.

        Returns a line for each task that was defined otherwise elsewhere, and is left unchanged.
        Errors: ConfigError for a name; DatabaseRefusedError where something has to be written.
        """
        compared = self._database.read_in(
            lambda cursor: declared_tasks.compare(self._as(cursor, group, who, None), definitions)
        )
        if any(found.ours for found in compared):
            compared = self._change(
                group, who, "declared", lambda change: declared_tasks.write(change, definitions)
            )
        return tuple(declared_tasks.line_of(found) for found in compared if found.left)

    # --- policy -----------------------------------------------------------------------------------

    def policy(self, group: str) -> TasksPolicy:
        """Return the times by which the group's observer decides.

        Errors: NotFoundError.
        """
        return self._database.read_in(
            lambda cursor: task_policy.read(cursor, self._database.schema, group)
        )

    def set_policy(
        self, group: str, wanted: Mapping[str, float | None], *, who: str, reason: str | None = None
    ) -> bool:
        """Set fields of the policy; false when they have these values already.

        None: each node uses the value of its own file.

        Errors: NotFoundError, DatabaseRefusedError.
        """
        return self._change(group, who, reason, lambda at: task_policy.change_to(at, wanted))

    def declare_policy(self, group: str, said: TasksPolicy, *, who: str) -> tuple[str, ...]:
        """Set what the record does not name yet; returns a line for each difference."""
        declared = task_policy.compare(self.policy(group), said)
        if declared.new:
            try:
                self._change(group, who, "declared", lambda at: task_policy.declare(at, said))
            except DatabaseRefusedError:
                return (*task_policy.lines_of(declared), task_policy.refused_line(declared))
        return task_policy.lines_of(task_policy.compare(self.policy(group), said))

    # --- nodes ------------------------------------------------------------------------------------

    def suspend(self, group: str, *, who: str, reason: str | None = None) -> bool:
        """Stop the decisions of the group's observer; false when it is suspended already.

        Errors: NotFoundError, DatabaseRefusedError.
        """
        return self._change(group, who, reason, node_admin.suspend)

    def resume(self, group: str, *, who: str, reason: str | None = None) -> bool:
        """Let the group's observer decide again; false when it is not suspended.

        Errors: NotFoundError, DatabaseRefusedError.
        """
        return self._change(group, who, reason, node_admin.resume)

    def evict(self, group: str, node: str, *, who: str, reason: str | None = None) -> None:
        """Forget a node that is gone.

        Errors: NotFoundError, NodeAliveError, DatabaseRefusedError.
        """
        self._change(group, who, reason, lambda change: node_admin.evict(change, node))

    # --- reading ----------------------------------------------------------------------------------

    def list(self, group: str | None = None) -> Rows:
        """Return a row of sys.ongoing_tasks for each task, with "definition" beside its columns."""
        return [
            _defined(row) for row in self._database.read(task_queries.TASKS, group=group, task=None)
        ]

    def show(self, group: str, task: str) -> tuple[Row, Rows]:
        """Return one row of `list`, and the rows of sys.task_nodes for it.

        Errors: NotFoundError.
        """
        found = self._database.read(task_queries.TASKS, group=group, task=task)
        if not found:
            raise NotFoundError(f"{group}: there is no task {task!r}")
        return _defined(found[0]), self._database.read(
            task_queries.TASK_NODES, group=group, task=task
        )

    def nodes(self, group: str | None = None) -> Rows:
        """Return the rows of sys.nodes."""
        return self._database.read(task_queries.NODES, group=group)

    def record(self, group: str) -> GroupRecord:
        """Return the group's record as its nodes read it.

        Errors: NotFoundError.
        """
        found = self._database.read(READ_RECORD, group=group)
        if not found:
            raise NotFoundError(f"there is no group {group!r}")
        return record_of(tuple(found[0].values()), Known())

    def observer(self, group: str) -> Row:
        """Return the observer of the group, its start, and the suspension if there is one.

        Errors: NotFoundError.
        """
        found = self._database.read(task_queries.OBSERVER, group=group)
        if not found:
            raise NotFoundError(f"there is no group {group!r}")
        return found[0]

    def decisions(self, group: str, count: int = 50) -> Rows:
        """Return the last rows of sys.observer_decisions, the newest first."""
        return self._database.read(task_queries.DECISIONS, group=group, count=count)

    def server_time(self) -> datetime:
        """Return the server's clock, in exactly one round trip."""
        return self._database.server_time()

    # --- cursors ----------------------------------------------------------------------------------

    def cursor(self, group: str, task: str) -> Row:
        """Return the saved state of a task: bytes, JSON if it is a cursor, or None."""
        return self._database.read(task_queries.CURSOR, group=group, task=task)[0]

    def save_cursor(self, group: str, task: str, term: int, session: str, cursor: str) -> None:
        """Save the cursor of a task under the term of its token.

        Errors: TokenLostError when the term is not the current one.
        """
        holding = {"group": group, "task": task, "term": term, "session": session}
        statement = named(SAVE_CURSOR, self._database.schema)
        try:
            self._database.write(lambda at: at.execute(statement, holding | {"cursor": cursor}))
        except psycopg.Error as error:
            if error.sqlstate == NOT_CURRENT:
                raise TokenLostError(
                    f"{group}/{task}: the token of term {term} is lost: nothing was saved"
                ) from error
            raise database_error(error, self._database.where) from error

    # --- inside -----------------------------------------------------------------------------------

    def _switch(
        self, group: str, task: str, who: str, reason: str | None, *, enabled: bool
    ) -> bool:
        return self._change(
            group,
            who,
            reason,
            lambda change: task_definitions.switch(change, task, enabled=enabled),
        )

    def _change(self, group: str, who: str, reason: str | None, body: Callable[[Change], T]) -> T:
        """Run `body` in a transaction and notify the group, unless it returns False: no change."""

        def whole(cursor: Cursor) -> T:
            change = self._as(cursor, group, who, reason)
            outcome = body(change)
            if outcome is not False:
                change.tell()
            return outcome

        try:
            return self._database.write(whole)
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseRefusedError(
                f"{self._database.where}: this login may not change tasks and nodes of {group}:"
                " what a task runs, every node runs, so a system_administrator's login does it"
                " (see `coord db roles`)"
            ) from error
        except psycopg.Error as error:
            raise database_error(error, self._database.where) from error

    def _as(self, cursor: Cursor, group: str, who: str, reason: str | None) -> Change:
        return Change(
            cursor=cursor, schema=self._database.schema, group=group, who=who, reason=reason
        )


def _defined(row: Row) -> Row:
    """Return a row of TASKS with its definition."""
    return row | {"definition": task_of(row["definition"])}

"""API for the program of a task: its token, its cursor, and its reports of progress.

from coordinator import HeldTask

task = HeldTask()
place = task.cursor() or {"last_id": 0}
with task.transaction() as connection:      # commits only while the token is this run's
    copied = copy_some(connection, place)
    task.save_cursor(connection, copied)    # in the same transaction: both or neither
task.progress()
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.app.held.progress import ProgressReports
from coordinator.errors import ConfigError, OutsideProgramError
from coordinator.protocol.messages.group_record import token_name

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from coordinator.store.program.state import TokenState


class HeldTask:
    """Holding under which this process runs, as its environment names it.

    Attributes: group, task, node, term (the fencing token), session, options (of the task).
    Errors: ConfigError if this process was not started as a task by a node, or has no database to
    write to: give `database_url`, or start the node with --pass-database.
    """

    def __init__(
        self,
        *,
        database_url: str | None = None,
        schema: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        try:
            self.group, self.task = environ["COORD_GROUP"], environ["COORD_TASK"]
            self.node, self.session = environ["COORD_NODE"], environ["COORD_SESSION"]
            self.term = int(environ["COORD_TERM"])
        except KeyError as error:
            raise OutsideProgramError(
                f"{error.args[0]} is", "`coord run` starts this program as a task"
            ) from error
        self.options: dict[str, Any] = json.loads(environ.get("COORD_OPTIONS", "{}"))
        self._database_url = database_url or environ.get("COORD_DATABASE_URL")
        self._schema = schema or environ.get("COORD_DATABASE_SCHEMA", DEFAULT_SCHEMA)
        self._reports = ProgressReports(environ)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that can commit only while this run holds the task's token.

        Errors: TokenLostError if it no longer does: nothing was written. OutcomeUnknownError if the
        answer to the commit was lost: read again what was written.
        """
        from coordinator.store.program.fenced_transaction import fenced_transaction

        name = token_name(self.group, self.task)
        with fenced_transaction(
            self._conninfo(), self._schema, name, self.term, self.session
        ) as connection:
            yield connection

    @property
    def state(self) -> TokenState:
        """Bytes that a run saves for the next one: `state.get()`, `state.put(content)`.

        The cursor is the same state as JSON.
        """
        from coordinator.store.program.state import TokenState

        return TokenState(
            conninfo=self._conninfo(),
            schema=self._schema,
            token=token_name(self.group, self.task),
            term=self.term,
            session=self.session,
        )

    def cursor(self) -> Any:
        """Return the task's cursor, as the last run saved it; None at first."""
        with self.transaction() as connection:
            return self.cursor_in(connection)

    def cursor_in(self, connection: Connection) -> Any:
        """Return the task's cursor, as seen in a transaction of `transaction`."""
        from coordinator.store.program.cursor import read_cursor

        return read_cursor(connection, self._schema, group=self.group, task=self.task)

    def save_cursor(self, connection: Connection, cursor: object) -> None:
        """Save the task's cursor, in a transaction of `transaction`.

        cursor: anything that JSON can hold.
        """
        from coordinator.store.program.cursor import save_cursor

        save_cursor(
            connection,
            self._schema,
            group=self.group,
            task=self.task,
            term=self.term,
            session=self.session,
            cursor=cursor,
        )

    def progress(self) -> None:
        """Report progress to the node; without effect if the task has no progressTimeout."""
        self._reports.send()

    def _conninfo(self) -> str:
        if not self._database_url:
            raise ConfigError(
                "there is no database to write to: give HeldTask a database_url, or start the"
                " node with --pass-database"
            )
        return self._database_url

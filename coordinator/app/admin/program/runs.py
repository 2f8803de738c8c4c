"""Runs of tasks by hand, for `coord task run`."""

from __future__ import annotations

from coordinator.app.admin.task_views import Asked
from coordinator.app.admin.tasks import author
from coordinator.app.config.database_choice import Resolved
from coordinator.protocol.group.asked_runs import OPEN, RunState
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.admin.program import runs as store
from coordinator.store.admin.program.runs import AskedRun

__all__ = ["OPEN", "AskedRun", "RunState", "TaskRuns"]


class TaskRuns:
    """Connection for one command; close it after use."""

    __slots__ = ("_author", "_database", "_resolved")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._resolved, self._author = resolved, author()
        self._database = AdminConnection(resolved.conninfo, schema, resolved.label, timeout_s)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def answered(self) -> Asked:
        """Return the moment of the answer, by the server's clock."""
        return Asked(server_time=self._database.server_time(), scope=self._resolved.scope)

    def ask(self, group: str, task: str, *, reason: str | None) -> AskedRun:
        """Ask for one run of a task, now.

        Errors: ConditionFalseError with what is in the way; NotFoundError; DatabaseRefusedError.
        """
        slot = store.ask(self._database, group, task, who=self._author, reason=reason)
        return AskedRun(slot=slot, state=RunState.ASKED)

    def look(self, group: str, task: str, run: AskedRun) -> AskedRun:
        """Return what has become of a request."""
        return store.look(self._database, group, task, run.slot)

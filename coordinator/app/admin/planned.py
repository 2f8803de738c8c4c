"""Planned changes for people: ask, end, and follow what becomes of one."""

from __future__ import annotations

from coordinator.app.admin.group_settings import GroupSettings, NodeSettings, of_group
from coordinator.app.admin.planned_lines import PlannedLine, line_of
from coordinator.app.admin.task_views import Asked as Answered
from coordinator.app.admin.tasks import author
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import ConditionFalseError
from coordinator.protocol.messages.planned import HANDOVERS, PlannedKind, PlannedOutcome
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.admin.planned import Asked, PlannedStore

__all__ = ["Asked", "PlannedChanges", "PlannedKind", "PlannedLine", "PlannedOutcome"]


class PlannedChanges:
    """Connection for one command; close it after use."""

    __slots__ = ("_author", "_database", "_resolved", "_store")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._resolved = resolved
        self._author = author()
        self._database = AdminConnection(resolved.conninfo, schema, resolved.label, timeout_s)
        self._store = PlannedStore(self._database)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def answered(self) -> Answered:
        """Return the moment of the answer, by the server's clock."""
        return Answered(server_time=self._database.server_time(), scope=self._resolved.scope)

    def ask(self, group: str, asked: Asked) -> int:
        """Ask for a change; return its number.

        A switchover for now is refused here with what is in the way, and nothing is recorded.
        Errors: ConditionFalseError with what is in the way; NotFoundError; DatabaseRefusedError.
        """
        if asked.kind in HANDOVERS and asked.at is None and asked.in_s is None:
            why = self._store.hindrance(group, asked)
            if why:
                raise ConditionFalseError(f"{group}: {why}")
        return self._store.ask(group, asked, who=self._author)

    def end(
        self,
        group: str,
        kinds: tuple[PlannedKind, ...],
        outcome: PlannedOutcome,
        *,
        node: str | None = None,
        reason: str | None = None,
    ) -> tuple[PlannedLine, ...]:
        """End the open changes of these kinds; return them as they are now.

        Errors: ConditionFalseError, DatabaseRefusedError.
        """
        ended = self._store.end(group, kinds, outcome, node=node, who=self._author, reason=reason)
        return tuple(self.look(row["id"]) for row in ended)

    def end_one(
        self, group: str, number: int, outcome: PlannedOutcome, *, reason: str | None = None
    ) -> PlannedLine:
        """End one open change, and no other of its kind; return it as it is now.

        Errors: ConditionFalseError where it has just ended; DatabaseRefusedError.
        """
        self._store.end_one(group, number, outcome, who=self._author, reason=reason)
        return self.look(number)

    def look(self, number: int) -> PlannedLine:
        """Return one change, open or over."""
        return line_of(self._store.look(number))

    def open(self, group: str | None = None) -> tuple[PlannedLine, ...]:
        """Return the open changes of a group, or of all."""
        return tuple(map(line_of, self._store.open(group)))

    def settings(self, group: str) -> GroupSettings:
        """Return the settings of a group for all its nodes.

        Errors: NotFoundError when there is no such group.
        """
        nodes = tuple(NodeSettings(**row) for row in self._store.settings(group))
        return of_group(group, self.open(group), nodes)

    def held(self, group: str, node: str | None = None) -> tuple[tuple[str, str], ...]:
        """Return the tokens, with their holders, of a group's work, or those of one node."""
        return tuple((row["token"], row["node"]) for row in self._store.held(group, node))

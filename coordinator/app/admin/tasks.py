"""Changes that people make to tasks, nodes and observer: the store's desk, in our words."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced

from coordinator.app.admin.task_views import (
    Asked,
    CursorPage,
    DecisionLine,
    ObserverPage,
    TaskHost,
    TaskLine,
    TaskPage,
    decision_of,
    host_of,
    line_of,
    on_node_of,
)
from coordinator.app.config.database_choice import Resolved
from coordinator.app.config.schedule_warnings import schedule_warnings
from coordinator.app.config.task_spec import trigger_in
from coordinator.errors import DuplicateTaskError, NotFoundError, UsageError
from coordinator.protocol.group.placement import responsible
from coordinator.protocol.messages.group_record import GroupRecord, TaskDef, TasksPolicy
from coordinator.store.admin.admin_store import AdminStore

#: What is left in the database after years of decisions is read by SQL, not by a command.
DECISIONS_MAX = 10_000
#: What `coord observer` shows below the line about it.
DECISIONS_SHOWN = 10


class Tasks:
    """A connection for one command; close it after use."""

    __slots__ = ("_desk", "_resolved", "_who")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._resolved = resolved
        self._who = who_asks()
        self._desk = AdminStore(
            resolved.conninfo, schema=schema, where=resolved.label, timeout_s=timeout_s
        )

    def close(self) -> None:
        """Close the connection."""
        self._desk.close()

    def asked(self) -> Asked:
        """Return when the server answered, by its own clock."""
        return Asked(server_time=self._desk.server_time(), scope=self._resolved.scope)

    # --- looking ----------------------------------------------------------------------------------

    def lines(self, group: str) -> tuple[TaskLine, ...]:
        """Return the tasks of a group, by name.

        Errors: NotFoundError when there is no such group.
        """
        self._desk.observer(group)
        return tuple(line_of(row) for row in self._desk.list(group))

    def page(self, group: str, task: str) -> TaskPage:
        """Return one task, who should run it, and what it is on each node.

        Errors: NotFoundError when there is no such group or task.
        """
        record = self._desk.record(group)
        row, nodes = self._desk.show(group, task)
        line = line_of(row)
        verdict = responsible(group, line.definition, record)
        return TaskPage(
            task=line,
            responsible=verdict.node,
            reason=verdict.reason,
            alert=verdict.alert,
            nodes=tuple(on_node_of(each) for each in nodes),
        )

    def hosts(self, group: str) -> tuple[TaskHost, ...]:
        """Return the nodes of a group.

        Errors: NotFoundError when there is no such group.
        """
        self._desk.observer(group)
        return tuple(host_of(row) for row in self._desk.nodes(group))

    def observer(self, group: str) -> ObserverPage:
        """Return who observes a group, whether that is suspended, and the last decisions.

        Errors: NotFoundError when there is no such group.
        """
        row = self._desk.observer(group)
        made = self._desk.decisions(group, count=DECISIONS_SHOWN)
        suspended_at = row["suspended_at"]
        return ObserverPage(
            group=group,
            # The status of any other group is about its program.
            state=row["state"] if row["hosts_tasks"] else "idle",
            node=row["node"] if row["hosts_tasks"] else None,
            term=row["term"] if row["hosts_tasks"] else 0,
            since=row["since"],
            since_age_s=row["since_age_s"],
            suspended_at=suspended_at,
            suspended_age_s=None
            if suspended_at is None
            else (self._desk.server_time() - suspended_at).total_seconds(),
            suspended_by=row["suspended_by"],
            suspend_reason=row["suspend_reason"],
            decisions=tuple(decision_of(each) for each in made),
        )

    def decisions(self, group: str, *, since_s: float | None) -> tuple[DecisionLine, ...]:
        """Return the decisions of the last `since_s` seconds, or all, the newest first.

        Errors: NotFoundError when there is no such group.
        """
        self._desk.observer(group)
        made = self._desk.decisions(group, count=DECISIONS_MAX)
        lines = (decision_of(row) for row in made)
        return tuple(line for line in lines if since_s is None or line.age_s <= since_s)

    def cursor(self, group: str, task: str) -> CursorPage:
        """Return how far a task has come; a deleted task's cursor stays readable.

        Errors: NotFoundError when there is no such task, and never was a cursor of it.
        """
        row = self._desk.cursor(group, task)
        if row["cursor"] is None:
            self._desk.show(group, task)
        return CursorPage(
            group=group,
            task=task,
            cursor=row["cursor"],
            term=row["term"],
            saved_at=row["saved_at"],
            save_count=row["save_count"],
        )

    # --- changing ---------------------------------------------------------------------------------

    def add(
        self, group: str, definition: TaskDef, *, replace: bool, reason: str | None
    ) -> tuple[str, ...]:
        """Add a task, or with `replace` change the one that there is.

        Returns warnings for a person.
        Errors: UsageError when there is one already, or the group runs one program.
        """
        self._refuse_one_program(group)
        if not (replace and self._replaced(group, definition, reason)):
            try:
                self._desk.add(group, definition, who=self._who, reason=reason)
            except DuplicateTaskError as error:
                raise UsageError(f"{error}; --replace changes it") from error
        named = [*definition.nodes, *([definition.preferred] if definition.preferred else [])]
        warnings = schedule_warnings(trigger_in(definition.spec), self._desk.server_time())
        return (*warnings, *self._unknown(group, named))

    def switch(self, group: str, task: str, *, on: bool, reason: str | None) -> bool:
        """Enable or disable a task; false when it was so before.

        Errors: NotFoundError.
        """
        change = self._desk.enable if on else self._desk.disable
        return change(group, task, who=self._who, reason=reason)

    def delete(self, group: str, task: str, *, reason: str | None) -> None:
        """Delete a task.

        Errors: NotFoundError.
        """
        self._desk.delete(group, task, who=self._who, reason=reason)

    def move(
        self, group: str, task: str, node: str, *, pinned: bool | None, reason: str | None
    ) -> tuple[str, ...]:
        """Make a node the preferred one of a task; returns warnings for a person.

        Errors: NotFoundError.
        """
        self._desk.move(group, task, preferred=node, pinned=pinned, who=self._who, reason=reason)
        return self._unknown(group, [node])

    def policy(self, group: str) -> TasksPolicy:
        """Return the times by which the group's observer decides.

        Errors: NotFoundError.
        """
        return self._desk.policy(group)

    def set_policy(
        self, group: str, wanted: Mapping[str, float | None], reason: str | None
    ) -> bool:
        """Set times of the policy, None: as each node has it; false when it was so before.

        Errors: NotFoundError.
        """
        return self._desk.set_policy(group, wanted, who=self._who, reason=reason)

    def suspend(self, group: str, reason: str | None) -> bool:
        """Let the observer of a group decide nothing; false when it was so before.

        Errors: NotFoundError.
        """
        return self._desk.suspend(group, who=self._who, reason=reason)

    def resume(self, group: str, reason: str | None) -> bool:
        """Let the observer of a group decide again; false when it does.

        Errors: NotFoundError.
        """
        return self._desk.resume(group, who=self._who, reason=reason)

    def evict(self, group: str, node: str, *, reason: str | None) -> None:
        """Forget a node that is gone.

        Errors: NotFoundError; NodeAliveError for one that may live.
        """
        self._desk.observer(group)
        self._desk.evict(group, node, who=self._who, reason=reason)

    def save_cursor(self, group: str, task: str, term: int, session: str, cursor: str) -> None:
        """Save how far a task has come.

        Errors: TokenLostError when term and session are not the current holding.
        """
        self._desk.save_cursor(group, task, term, session, cursor)

    # --- inside -----------------------------------------------------------------------------------

    def _replaced(self, group: str, definition: TaskDef, reason: str | None) -> bool:
        """Change a task; false when there is none.

        One that somebody has disabled stays so; one that has finished begins again.
        """
        try:
            before, _ = self._desk.show(group, definition.name)
            enabled = before["enabled"] or before["end_reason"] is not None
            kept = replaced(definition, enabled=definition.enabled and enabled)
            self._desk.change(group, kept, who=self._who, reason=reason)
        except NotFoundError:
            return False
        return True

    def _refuse_one_program(self, group: str) -> None:
        """Refuse tasks for a group whose live nodes race for the token of one program."""
        live = [row for row in self._desk.nodes(group) if row["state"] != "ended"]
        if live and not self._desk.observer(group)["hosts_tasks"]:
            raise UsageError(
                f"{group}: its nodes run one program, {live[0]['node']} for one; tasks need nodes"
                " that were started with --tasks, in a group of their own"
            )

    def _unknown(self, group: str, nodes: Sequence[str]) -> tuple[str, ...]:
        record: GroupRecord = self._desk.record(group)
        return tuple(
            f"{group} has no node {node!r} yet; it is kept for when one joins"
            for node in dict.fromkeys(nodes)
            if node not in record.nodes
        )


def who_asks() -> str:
    """Name the person who changes something, for the record of changes."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"

"""Views and changes of tasks, nodes and observer for people, by the admin store."""

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
    json_of,
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

#: A command reads at most so many decisions; SQL can read older ones.
DECISIONS_MAX = 10_000
#: `coord observer` shows so many decisions.
DECISIONS_SHOWN = 10


class Tasks:
    """Connection for one command; close it after use."""

    __slots__ = ("_author", "_resolved", "_store")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._resolved = resolved
        self._author = author()
        self._store = AdminStore(
            resolved.conninfo, schema=schema, where=resolved.label, timeout_s=timeout_s
        )

    def close(self) -> None:
        """Close the connection."""
        self._store.close()

    def asked(self) -> Asked:
        """Return the moment of the answer, by the server's clock."""
        return Asked(server_time=self._store.server_time(), scope=self._resolved.scope)

    # --- reading ----------------------------------------------------------------------------------

    def lines(self, group: str) -> tuple[TaskLine, ...]:
        """Return the tasks of a group, by name.

        Errors: NotFoundError when there is no such group.
        """
        self._store.observer(group)
        return tuple(line_of(row) for row in self._store.list(group))

    def page(self, group: str, task: str) -> TaskPage:
        """Return one task, the node that should run it, and its state on each node.

        Errors: NotFoundError when there is no such group or task.
        """
        record = self._store.record(group)
        row, nodes = self._store.show(group, task)
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
        self._store.observer(group)
        return tuple(host_of(row) for row in self._store.nodes(group))

    def observer(self, group: str) -> ObserverPage:
        """Return the observer of a group, its suspension if there is one, and its last decisions.

        Errors: NotFoundError when there is no such group.
        """
        row = self._store.observer(group)
        made = self._store.decisions(group, count=DECISIONS_SHOWN)
        suspended_at = row["suspended_at"]
        return ObserverPage(
            group=group,
            # In a group without tasks, the state is that of its program.
            state=row["state"] if row["hosts_tasks"] else "idle",
            node=row["node"] if row["hosts_tasks"] else None,
            term=row["term"] if row["hosts_tasks"] else 0,
            since=row["since"],
            since_age_s=row["since_age_s"],
            suspended_at=suspended_at,
            suspended_age_s=None
            if suspended_at is None
            else (self._store.server_time() - suspended_at).total_seconds(),
            suspended_by=row["suspended_by"],
            suspend_reason=row["suspend_reason"],
            decisions=tuple(decision_of(each) for each in made),
        )

    def decisions(self, group: str, *, since_s: float | None) -> tuple[DecisionLine, ...]:
        """Return the decisions of the last `since_s` seconds, or all, the newest first.

        Errors: NotFoundError when there is no such group.
        """
        self._store.observer(group)
        made = self._store.decisions(group, count=DECISIONS_MAX)
        lines = (decision_of(row) for row in made)
        return tuple(line for line in lines if since_s is None or line.age_s <= since_s)

    def cursor(self, group: str, task: str) -> CursorPage:
        """Return the cursor of a task; a deleted task's cursor stays readable.

        Errors: NotFoundError if there is neither such a task nor a cursor of it; CoordError if its
        state is not JSON.
        """
        row = self._store.cursor(group, task)
        if row["cursor"] is None:
            self._store.show(group, task)
        return CursorPage(
            group=group,
            task=task,
            cursor=None if row["cursor"] is None else json_of(f"{group}/{task}", row["cursor"]),
            term=row["term"],
            saved_at=row["saved_at"],
            save_count=row["save_count"],
        )

    # --- changing ---------------------------------------------------------------------------------

    def add(
        self, group: str, definition: TaskDef, *, replace: bool, reason: str | None
    ) -> tuple[str, ...]:
        """Add a task, or with `replace` change an existing one.

        Returns warnings for a person.
        Errors: UsageError if the task exists, or the group runs one program.
        """
        self._refuse_one_program(group)
        if not (replace and self._replaced(group, definition, reason)):
            try:
                self._store.add(group, definition, who=self._author, reason=reason)
            except DuplicateTaskError as error:
                raise UsageError(f"{error}; pass --replace to change it") from error
        named = [*definition.nodes, *([definition.preferred] if definition.preferred else [])]
        warnings = schedule_warnings(trigger_in(definition.spec), self._store.server_time())
        return (*warnings, *self._unknown(group, named))

    def switch(self, group: str, task: str, *, on: bool, reason: str | None) -> bool:
        """Enable or disable a task; return False if that changed nothing.

        Errors: NotFoundError.
        """
        change = self._store.enable if on else self._store.disable
        return change(group, task, who=self._author, reason=reason)

    def delete(self, group: str, task: str, *, reason: str | None) -> None:
        """Delete a task.

        Errors: NotFoundError.
        """
        self._store.delete(group, task, who=self._author, reason=reason)

    def move(
        self, group: str, task: str, node: str, *, pinned: bool | None, reason: str | None
    ) -> tuple[str, ...]:
        """Make a node the preferred one of a task; returns warnings for a person.

        Errors: NotFoundError.
        """
        self._store.move(
            group, task, preferred=node, pinned=pinned, who=self._author, reason=reason
        )
        return self._unknown(group, [node])

    def policy(self, group: str) -> TasksPolicy:
        """Return the times by which the group's observer judges nodes.

        Errors: NotFoundError.
        """
        return self._store.policy(group)

    def set_policy(
        self, group: str, wanted: Mapping[str, float | None], reason: str | None
    ) -> bool:
        """Set times of the policy; return False if that changed nothing.

        wanted: None removes a value, so that each node uses its own.

        Errors: NotFoundError.
        """
        return self._store.set_policy(group, wanted, who=self._author, reason=reason)

    def suspend(self, group: str, reason: str | None) -> bool:
        """Stop the observer of a group from deciding; return False if it was suspended.

        Errors: NotFoundError.
        """
        return self._store.suspend(group, who=self._author, reason=reason)

    def resume(self, group: str, reason: str | None) -> bool:
        """Let the observer of a group decide again; return False if it was not suspended.

        Errors: NotFoundError.
        """
        return self._store.resume(group, who=self._author, reason=reason)

    def evict(self, group: str, node: str, *, reason: str | None) -> None:
        """Delete the row of a dead node.

        Errors: NotFoundError; NodeAliveError if the node may live.
        """
        self._store.observer(group)
        self._store.evict(group, node, who=self._author, reason=reason)

    def save_cursor(self, group: str, task: str, term: int, session: str, cursor: str) -> None:
        """Save the cursor of a task.

        Errors: TokenLostError if term and session are not those of the current holding.
        """
        self._store.save_cursor(group, task, term, session, cursor)

    # --- inside -----------------------------------------------------------------------------------

    def _replaced(self, group: str, definition: TaskDef, reason: str | None) -> bool:
        """Change a task; return False if there is none.

        A task that a person disabled stays disabled; a finished one begins again.
        """
        try:
            before, _ = self._store.show(group, definition.name)
            enabled = before["enabled"] or before["end_reason"] is not None
            kept = replaced(definition, enabled=definition.enabled and enabled)
            self._store.change(group, kept, who=self._author, reason=reason)
        except NotFoundError:
            return False
        return True

    def _refuse_one_program(self, group: str) -> None:
        """Refuse tasks for a group whose live nodes race for the token of one program."""
        live = [row for row in self._store.nodes(group) if row["state"] != "ended"]
        if live and not self._store.observer(group)["hosts_tasks"]:
            raise UsageError(
                f"{group}: its nodes run one program, {live[0]['node']} for one; tasks need nodes"
                " that were started with --tasks, in a group of their own"
            )

    def _unknown(self, group: str, nodes: Sequence[str]) -> tuple[str, ...]:
        record: GroupRecord = self._store.record(group)
        return tuple(
            f"{group} has no node {node!r} yet; the name counts once such a node joins"
            for node in dict.fromkeys(nodes)
            if node not in record.nodes
        )


def author() -> str:
    """Return the name of the person who changes something, for the record of changes."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"

"""Changes of an operator in a task group of a MemoryDatabase: one transaction each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.messages.group_record import TaskDef, TasksPolicy, token_name
from tests.support.fakes.memory_rows import TaskRow

if TYPE_CHECKING:
    from tests.support.fakes.memory_database import MemoryDatabase


def define(database: MemoryDatabase, group: str, definition: TaskDef) -> TaskDef:
    """Add a task, or change it: its revision rises, and nobody has failed at it yet."""
    before = database.tasks.get((group, definition.name))
    revision = 1 if before is None else before.definition.revision + 1
    definition = replace(definition, revision=revision)
    database.tasks[group, definition.name] = TaskRow(definition)
    database.ensure_token(token_name(group, definition.name))
    for (of, task, node), known in database.task_nodes.items():
        if (of, task) == (group, definition.name):
            database.task_nodes[of, task, node] = replace(known, failed_count=0)
    _changed(database, group, "define")
    return definition


def enable(database: MemoryDatabase, group: str, task: str, *, enabled: bool) -> None:
    """Let a task run, or run nowhere."""
    row = database.tasks[group, task]
    definition = replace(row.definition, enabled=enabled)
    database.tasks[group, task] = replace(row, definition=definition, end_reason="")
    _changed(database, group, "enable")


def delete(database: MemoryDatabase, group: str, task: str) -> None:
    """Delete a task; its row stays for its revision, its token row for its terms."""
    database.tasks[group, task] = replace(database.tasks[group, task], deleted=True)
    for key in [key for key in database.task_nodes if key[:2] == (group, task)]:
        del database.task_nodes[key]
    _changed(database, group, "delete")


def suspend(database: MemoryDatabase, group: str, *, suspended: bool) -> None:
    """Let the observer decide nothing, or decide again."""
    database.suspended[group] = suspended
    _changed(database, group, "suspend")


def set_policy(database: MemoryDatabase, group: str, policy: TasksPolicy) -> None:
    """Set the times by which the observer judges nodes."""
    database.policies[group] = policy
    _changed(database, group, "policy")


def _changed(database: MemoryDatabase, group: str, what: str) -> None:
    database.ensure_epoch()
    database.versions.setdefault(group, 1)
    database.raise_version(group, what)

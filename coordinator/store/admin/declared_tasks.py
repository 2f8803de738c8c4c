"""Tasks that the files of nodes declare: added when they are new, changed when a file made them.

Every node does this when it starts. It reads first and writes nothing where nothing differs, so
that a node's login needs no right to define tasks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from coordinator.errors import DuplicateTaskError
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.store.admin.task_definitions import Change, add, change_to, columns_of

ORIGIN = "file"

COMPARE: LiteralString = """
SELECT
    wish.name,
    task.name IS NULL OR task.deleted AS missing,
    task.origin,
    task.enabled,
    task.end_reason IS NOT NULL AS finished,
    ({declared_in_task}) IS DISTINCT FROM ({declared_in_wish}) AS differs
FROM jsonb_to_recordset(%(wishes)s::jsonb) AS wish (name text, {wish_types})
LEFT JOIN {schema}.task AS task ON task.group_id = %(group)s AND task.name = wish.name
ORDER BY wish.name COLLATE "C"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A declared task beside the row of its name.

    finished: the task has disabled itself, because it had nothing left to do.
    """

    name: str
    missing: bool
    origin: str | None
    enabled: bool | None
    finished: bool | None
    differs: bool

    @property
    def ours(self) -> bool:
        """True when the file may write the definition."""
        return self.missing or (self.differs and self.origin == ORIGIN)

    @property
    def left(self) -> bool:
        """True when it was defined otherwise, and not by a file."""
        return not self.missing and self.differs and self.origin != ORIGIN


def compare(change: Change, definitions: Sequence[TaskDef]) -> list[Compared]:
    """Compare declared tasks with the rows of the same names.

    Errors: ConfigError for a name that no task may have.
    """
    wishes = [
        columns_of(change.group, definition) | {"spec": json.loads(definition.spec)}
        for definition in definitions
    ]
    change.run(COMPARE, wishes=json.dumps(wishes))
    return [Compared(**row) for row in change.cursor.fetchall()]


def write(change: Change, definitions: Sequence[TaskDef]) -> list[Compared]:
    """Add and change the tasks that the file may write; return all comparisons."""
    by_name = {definition.name: definition for definition in definitions}
    compared = compare(change, definitions)
    for found in compared:
        if found.missing:
            # Another node with the same file may be a moment faster.
            with suppress(DuplicateTaskError):
                add(change, by_name[found.name], ORIGIN)
        elif found.ours:
            change_to(change, _kept(by_name[found.name], found))
    return compared


def line_of(found: Compared) -> str:
    """Return the line for a declared task that is left unchanged."""
    return (
        f"task {found.name}: left as it is; it was defined by {found.origin}, and the file's"
        " definition differs"
    )


def _kept(definition: TaskDef, found: Compared) -> TaskDef:
    """Return the definition, as enabled as the row is; a finished task begins again."""
    enabled: Any = definition.enabled if found.finished else found.enabled
    return replace(definition, enabled=bool(enabled))

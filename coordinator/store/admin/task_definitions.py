"""Definitions of tasks, written by people and by the files of nodes: one transaction each.

Every change raises the group's version, writes an event with author and reason, and notifies the
group. All transactions take locks in one order: tokens, tasks by name, rows of task_node, and the
version last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import LiteralString

from coordinator.errors import ConfigError, DuplicateTaskError, NotFoundError
from coordinator.protocol.messages.group_record import TaskDef, token_name
from coordinator.store.admin.connection import Cursor
from coordinator.store.sql.statement import named
from coordinator.store.sql.task_columns import values_of
from coordinator.store.sql.view import channel_of

#: The same rule as the check of the table.
NAME = re.compile(r"[A-Za-z0-9.:@-][A-Za-z0-9_.:@-]*")
#: Length of a group's name and a task's together: the token's name joins both with a slash.
LETTERS_MAX = 255

#: Rows that must exist; a group may get tasks before its first node.
ENSURE: LiteralString = """
WITH record AS (
    INSERT INTO {schema}.group_record (group_id) VALUES (%(group)s) ON CONFLICT DO NOTHING
)
INSERT INTO {schema}.token_holder (group_id)
SELECT wanted.token FROM unnest(%(tokens)s::text[]) AS wanted (token)
ORDER BY wanted.token
ON CONFLICT DO NOTHING
"""

INSERT: LiteralString = """
INSERT INTO {schema}.task (group_id, name, {task_columns}, origin, changed_by)
VALUES (%(group)s, %(name)s, {task_values}, %(origin)s, %(who)s)
ON CONFLICT DO NOTHING
"""

#: The revision rises when the program or its conduct changes, not when only its place does. The
#: count continues after a task was deleted, so that no two of its programs share a revision.
REPLACE: LiteralString = """
UPDATE {schema}.task
SET revision = revision + CASE
        WHEN deleted OR ({restart_columns}) IS DISTINCT FROM ({restart_values}) THEN 1 ELSE 0
    END,
    ({task_columns}) = ROW ({task_values}),
    deleted = false,
    origin = coalesce(%(origin)s, origin),
    end_reason = CASE WHEN %(enabled)s::boolean THEN NULL ELSE end_reason END,
    changed_at = clock_timestamp(),
    changed_by = %(who)s
WHERE group_id = %(group)s AND name = %(name)s AND deleted = %(deleted)s
RETURNING revision
"""

SWITCH: LiteralString = """
UPDATE {schema}.task
SET enabled = %(enabled)s,
    end_reason = NULL,
    changed_at = clock_timestamp(),
    changed_by = %(who)s
WHERE group_id = %(group)s AND name = %(name)s AND NOT deleted AND enabled <> %(enabled)s
"""

MOVE: LiteralString = """
UPDATE {schema}.task
SET preferred = %(preferred)s,
    pinned = coalesce(%(pinned)s::boolean, pinned),
    changed_at = clock_timestamp(),
    changed_by = %(who)s
WHERE group_id = %(group)s AND name = %(name)s AND NOT deleted
"""

DELETE: LiteralString = """
UPDATE {schema}.task
SET deleted = true, changed_at = clock_timestamp(), changed_by = %(who)s
WHERE group_id = %(group)s AND name = %(name)s AND NOT deleted
"""

EXISTS: LiteralString = """
SELECT FROM {schema}.task WHERE group_id = %(group)s AND name = %(name)s AND NOT deleted
"""

FORGET_NODES: LiteralString = """
DELETE FROM {schema}.task_node WHERE group_id = %(group)s AND task = %(name)s
"""

FORGET_FAILURES: LiteralString = """
UPDATE {schema}.task_node
SET failed_count = 0
WHERE group_id = %(group)s AND task = ANY(%(names)s::text[]) AND failed_count > 0
"""

NOTE: LiteralString = """
INSERT INTO {schema}.event (group_id, kind, reason, who)
VALUES (%(subject)s, %(kind)s, %(reason)s, %(who)s)
"""

RAISE: LiteralString = """
WITH raised AS (
    UPDATE {schema}.group_record
    SET version = version + 1
    WHERE group_id = %(group)s
    RETURNING version
)
SELECT raised.version, pg_notify(
    %(channel)s, json_build_object('kind', 'group', 'version', raised.version)::text
)
FROM raised
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Author and reason of a change; the cursor is in a READ COMMITTED transaction."""

    cursor: Cursor
    schema: str
    group: str
    who: str
    reason: str | None

    def run(self, statement: LiteralString, **values: object) -> int:
        """Run a statement; return the number of rows that it affected."""
        known = {"group": self.group, "who": self.who, "reason": self.reason}
        self.cursor.execute(named(statement, self.schema), {**known, **values})
        return int(self.cursor.rowcount)

    def note(self, kind: str, subject: str | None = None) -> None:
        """Write an event about a task of the group, or about the group."""
        about = self.group if subject is None else token_name(self.group, subject)
        self.run(NOTE, kind=kind, subject=about)

    def tell(self) -> None:
        """Raise the version and notify the group: the last step of every transaction."""
        self.run(RAISE, channel=channel_of(self.schema, self.group))


def add(change: Change, definition: TaskDef, origin: str) -> TaskDef:
    """Add a task; a task that was deleted continues its terms and revisions.

    Errors: DuplicateTaskError, ConfigError.
    """
    columns = columns_of(change.group, definition)
    tokens = [token_name(change.group, definition.name)]
    change.run(ENSURE, tokens=tokens)
    revision = 1
    if change.run(REPLACE, **columns, origin=origin, deleted=True):
        revision = _revision(change)
    elif not change.run(INSERT, **columns, origin=origin):
        raise DuplicateTaskError(f"{change.group}: there is a task {definition.name!r} already")
    change.note("task added", definition.name)
    return replace(definition, revision=revision)


def change_to(change: Change, definition: TaskDef, origin: str | None = None) -> TaskDef:
    """Replace a task's definition, and reset the failures that nodes counted.

    Errors: NotFoundError, ConfigError.
    """
    columns = columns_of(change.group, definition)
    if not change.run(REPLACE, **columns, origin=origin, deleted=False):
        raise _not_found(change.group, definition.name)
    revision = _revision(change)
    _changed(change, definition.name, "task changed")
    return replace(definition, revision=revision)


def switch(change: Change, name: str, *, enabled: bool) -> bool:
    """Enable or disable a task; false when nothing changes.

    Errors: NotFoundError.
    """
    if not change.run(SWITCH, name=name, enabled=enabled):
        if change.run(EXISTS, name=name):
            return False
        raise _not_found(change.group, name)
    _changed(change, name, "task enabled" if enabled else "task disabled")
    return True


def move(change: Change, name: str, *, preferred: str | None, pinned: bool | None) -> None:
    """Set the preferred node of a task; pinned None leaves `pinned` unchanged.

    Errors: NotFoundError.
    """
    if not change.run(MOVE, name=name, preferred=preferred, pinned=pinned):
        raise _not_found(change.group, name)
    _changed(change, name, "task moved")


def delete(change: Change, name: str) -> None:
    """Delete a task; its token, its history and its cursor stay.

    Errors: NotFoundError.
    """
    if not change.run(DELETE, name=name):
        raise _not_found(change.group, name)
    change.run(FORGET_NODES, name=name)
    change.note("task deleted", name)


def columns_of(group: str, definition: TaskDef) -> dict[str, object]:
    """Return a definition as parameters.

    Errors: ConfigError for a name that no task may have.
    """
    name = definition.name
    if not NAME.fullmatch(name) or len(group) + len(name) > LETTERS_MAX:
        raise ConfigError(
            f"task {name!r}: a name is letters, digits and _ . : @ -, does not begin with _,"
            f" and is with its group's not longer than {LETTERS_MAX}"
        )
    return {"name": name, **values_of(definition)}


def _revision(change: Change) -> int:
    row = change.cursor.fetchone()
    assert row is not None, "REPLACE returns the row that it wrote"
    return int(row["revision"])


def _changed(change: Change, name: str, kind: str) -> None:
    change.run(FORGET_FAILURES, names=[name])
    change.note(kind, name)


def _not_found(group: str, name: str) -> NotFoundError:
    return NotFoundError(f"{group}: there is no task {name!r}")

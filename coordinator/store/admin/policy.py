"""Policy of a group: the times by which its observer decides, the same for all nodes.

At its start a node writes those values of its file that the record lacks. Values in the record are
changed by people; a file with another value causes a message and is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import LiteralString

from coordinator.errors import NotFoundError
from coordinator.protocol.messages.group_record import POLICY_KEYS, TasksPolicy
from coordinator.store.admin.connection import Cursor
from coordinator.store.admin.task_definitions import Change
from coordinator.store.node.group_record import policy_of
from coordinator.store.sql.statement import named

READ: LiteralString = """
SELECT record.to_member_ms, record.late_max, record.late_within_ms, record.observer_grace_ms
FROM {schema}.group_record AS record
WHERE record.group_id = %(group)s
"""

WRITE: LiteralString = """
UPDATE {schema}.group_record
SET to_member_ms = %(to_member_s)s::bigint,
    late_max = %(late_max)s::integer,
    late_within_ms = %(late_within_s)s::bigint,
    observer_grace_ms = %(grace_s)s::bigint
WHERE group_id = %(group)s
"""

#: Taken before a read that precedes a change, so that two changes wait for each other.
LOCK: LiteralString = """
SELECT FROM {schema}.group_record WHERE group_id = %(group)s FOR NO KEY UPDATE
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Compare what a file declares with what the record says, by field.

    new:  the record does not name them.
    left: the record says otherwise: (what the file says, what the record says).
    """

    new: dict[str, float]
    left: dict[str, tuple[float, float]]


def read(cursor: Cursor, schema: str, group: str) -> TasksPolicy:
    """Return the group's policy.

    Errors: NotFoundError when there is no such group.
    """
    row = cursor.execute(named(READ, schema), {"group": group}).fetchone()
    if row is None:
        raise NotFoundError(f"there is no group {group!r}")
    return policy_of(tuple(row.values()))


def change_to(change: Change, wanted: Mapping[str, float | None]) -> bool:
    """Set fields of the policy, or remove them with None; false when nothing changes.

    Errors: NotFoundError.
    """
    change.run(LOCK)
    return _write(change, read(change.cursor, change.schema, change.group), wanted)


def declare(change: Change, said: TasksPolicy) -> bool:
    """Set the fields that the record lacks; false when it has all of them."""
    change.run(LOCK)
    known = read(change.cursor, change.schema, change.group)
    return _write(change, known, compare(known, said).new)


def compare(known: TasksPolicy, said: TasksPolicy) -> Declared:
    """Compare what a file says with what the record says."""
    new: dict[str, float] = {}
    left: dict[str, tuple[float, float]] = {}
    for field, value in asdict(said).items():
        there = getattr(known, field)
        if value is None or _stored(field, value) == _stored(field, there):
            continue
        if there is None:
            new[field] = value
        else:
            left[field] = (value, there)
    return Declared(new=new, left=left)


def lines_of(declared: Declared) -> tuple[str, ...]:
    """Return a line for each key whose value in the record differs from the file's."""
    return tuple(
        f"tasksPolicy.{POLICY_KEYS[field]} = {wanted:.15g} in this node's file is not used: the"
        f" group's is {there:.15g}; `coord observer policy {POLICY_KEYS[field]}={wanted:.15g}`"
        " changes it for all nodes"
        for field, (wanted, there) in declared.left.items()
    )


def refused_line(declared: Declared) -> str:
    """Return the line for a login that may not declare the values of its file."""
    keys = " ".join(f"{POLICY_KEYS[field]}={value:.15g}" for field, value in declared.new.items())
    return (
        "tasksPolicy: this login may not make it the group's, so it is only what this node goes by;"
        f" a system_administrator's login does it: `coord observer policy {keys}`"
    )


def _write(change: Change, before: TasksPolicy, wanted: Mapping[str, float | None]) -> bool:
    columns = {field: _stored(field, value) for field, value in asdict(before).items()}
    changed = columns | {field: _stored(field, value) for field, value in wanted.items()}
    if changed == columns:
        return False
    change.run(WRITE, **changed)
    change.note("tasks policy changed")
    return True


def _stored(field: str, value: float | None) -> int | None:
    """Return a value as its column has it: times are milliseconds."""
    if value is None or field == "late_max":
        return None if value is None else int(value)
    return max(round(value * 1000), 1 if field == "late_within_s" else 0)

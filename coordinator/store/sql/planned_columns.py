"""The open planned changes of a group, from the cell that the fragment {planned} gives."""

from __future__ import annotations

from typing import Any

from coordinator.protocol.messages.planned import (
    NOTHING_PLANNED,
    Planned,
    PlannedChange,
    PlannedKind,
)

_KINDS = {kind.value: kind for kind in PlannedKind}


def planned_of(cell: Any) -> Planned:
    """Return the planned changes of a view or record; NULL when none is open."""
    if cell is None:
        return NOTHING_PLANNED
    read_us, rows = cell
    return Planned(
        read_us=read_us,
        changes=tuple(
            PlannedChange(
                id=number,
                kind=_KINDS[kind],
                node=node,
                who=who or "",
                reason=reason or "",
                wait_s=wait_s,
                left_s=left_s,
                value=value,
                agreed=agreed,
            )
            for number, kind, node, who, reason, wait_s, left_s, value, agreed in rows
            if kind in _KINDS  # a later version may know more
        ),
    )

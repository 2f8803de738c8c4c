"""Settings of a group for all its nodes, as they are shown (docs/protocol.md, rules I)."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.app.admin.planned_lines import LIVENESS, PlannedLine


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Interval of a live node: as its row has it, and as its file does."""

    node: str
    liveness_s: float
    file_liveness_s: float | None
    heartbeat_s: float
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """Settings of one group, and what its live nodes have.

    changes: those that count or are to count; none: each node has the value of its own file.
    """

    group: str
    changes: tuple[PlannedLine, ...]
    nodes: tuple[NodeSettings, ...]

    @property
    def in_force(self) -> PlannedLine | None:
        """Setting that every live node has."""
        return next((one for one in self.changes if one.agreed_at is not None), None)

    @property
    def spreading(self) -> PlannedLine | None:
        """Setting that some live node may lack yet."""
        return next((one for one in self.changes if one.agreed_at is None), None)


def of_group(
    group: str, changes: tuple[PlannedLine, ...], nodes: tuple[NodeSettings, ...]
) -> GroupSettings:
    """Return the settings of a group from its open changes."""
    settings = tuple(one for one in changes if one.kind == LIVENESS)
    return GroupSettings(group=group, changes=settings, nodes=nodes)

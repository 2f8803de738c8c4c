"""rebalance: segments move from fuller devices to emptier ones, until all are filled alike.

The copy is whole on its new device before the catalogue names it; the old file goes a minute later.
So readers never fail meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from coordinator.app.checkpoints.operations.site import (
    HUNG_AFTER_S,
    LATE_S,
    Row,
    Site,
    has_disks,
    leaving,
    opened,
)
from coordinator.app.checkpoints.rows import layout_of, located
from coordinator.ports import ClaimedSubtask
from coordinator.protocol.operations.types import (
    STOPPED,
    Location,
    Plan,
    PlannedSubtask,
    SubtaskEnd,
    SubtaskState,
    TypeSpec,
)
from coordinator.segments.placing import Placed, fill, moves, ratio
from coordinator.store.checkpoints.records import SegmentChange


class Rebalance:
    """The type rebalance."""

    spec = TypeSpec(
        name="rebalance",
        locations=frozenset({Location.SYSTEM, Location.CLUSTER}),
        result=True,
        hung_after_s=HUNG_AFTER_S,
    )

    def offered(self, settings: Any) -> bool:
        """Say whether a node has disks, and so a part in checkpoints."""
        return has_disks(settings)

    def plan(self, planning: ClaimedSubtask) -> Plan:
        """Return a subtask for each checkpoint of which segments are to move."""
        with opened(planning) as site:
            _, devices = site.devices()
            committed = {row["id"] for row in site.checkpoints()}
            placed = [
                Placed(
                    segment=each["segment"],
                    checkpoint=each["checkpoint"],
                    device=each["device"],
                    size=each["file_bytes"],
                )
                for each in site.segments()
                if each["checkpoint"] in committed and each["status"] == "INTACT"
            ]
        planned = moves(devices, placed)
        used = fill(devices, placed)
        before = ratio(used) if used else 1.0
        by_checkpoint: dict[int, list[Any]] = defaultdict(list)
        for move in planned:
            by_checkpoint[move.placed.checkpoint].append(move)
            used[move.placed.device] -= move.placed.size
            used[move.to] += move.placed.size
        return Plan(
            tuple(
                PlannedSubtask(
                    entity=str(checkpoint),
                    argument={"moves": [[each.placed.segment, each.to] for each in of_it]},
                    units=len(of_it),
                    size=sum(each.placed.size for each in of_it),
                )
                for checkpoint, of_it in sorted(by_checkpoint.items())
            ),
            {
                "moves": len(planned),
                "fullest_to_mean_before": round(before, 3),
                "fullest_to_mean_planned": round(ratio(used) if used else 1.0, 3),
            },
        )

    def run(self, subtask: ClaimedSubtask) -> SubtaskEnd:
        """Move the segments of one checkpoint that the plan names."""
        moved = size = 0
        with opened(subtask) as site:
            rows = site.checkpoints(int(subtask.entity))
            if not rows:
                return SubtaskEnd(SubtaskState.SKIPPED, "the checkpoint has expired")
            for segment_id, target in subtask.argument["moves"]:
                if subtask.stop_asked():
                    return STOPPED
                known = {each["segment"]: each for each in site.segments(rows[0]["id"])}
                segment = known.get(segment_id)
                if segment is not None and _moved(site, rows[0], segment, known, target):
                    moved += 1
                    size += segment["file_bytes"]
                site.progress(units=moved, size=size)
        if moved == 0:
            return SubtaskEnd(SubtaskState.SKIPPED, "nothing is left to move", {"moved": 0})
        return SubtaskEnd(SubtaskState.DONE, "", {"moved": moved})


def _moved(site: Site, row: Row, segment: Row, known: dict[str, Row], target: str) -> bool:
    """Move one segment; false when that is done, not possible any more, or not wanted any more.

    Errors: DiskError when the target is full or gone; SegmentDamagedError.
    """
    devices, _ = site.devices()
    if segment["status"] != "INTACT" or segment["device"] == target or target not in devices:
        return False
    others = {each["node"] for each in known.values() if each["segment"] != segment["segment"]}
    if devices[target]["node"] in others:
        return False  # a rebuild was faster, and two of a checkpoint never share a node for this
    layout = layout_of(row)
    header = site.header(row, segment)
    site.note(segment["segment"], target)
    blocks = site.places.blocks(located(segment["segment"], segment), None, layout, 0)
    site.write(located(segment["segment"], devices[target]), header, blocks, segment["digest"])
    done = SegmentChange(
        segment=segment["segment"],
        version=segment["version"],
        state="INTACT",
        device=target,
        checked=True,
    )
    return site.change([done], leaving(segment["segment"], segment["device"], LATE_S))

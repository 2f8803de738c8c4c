"""check_disk: every node reads the segments on its own disks, and says what it finds.

Without `fix` no state changes. A sample reads some blocks, finds damage, and never makes a segment
INTACT. A device that is not there says nothing about its files.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, LiteralString

from coordinator.app.checkpoints.operations.site import HUNG_AFTER_S, Row, Site, has_disks, opened
from coordinator.app.checkpoints.places import path_in
from coordinator.ports import ClaimedSubtask
from coordinator.protocol.operations.types import (
    STOPPED,
    Kind,
    Location,
    Names,
    Option,
    Plan,
    PlannedSubtask,
    SubtaskEnd,
    SubtaskState,
    TypeSpec,
)
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.segments.checking import MISSING, Finding, check
from coordinator.segments.devices.disk import Disk
from coordinator.segments.devices.pace import Pace
from coordinator.segments.faults import DiskError
from coordinator.segments.rules import state_after_check
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.records import SegmentChange

DONE_ALREADY: LiteralString = """
SELECT found.segment::text AS segment
FROM {schema}.check_disk_result AS found
WHERE found.group_id = %(group)s AND found.operation = %(operation)s::uuid
    AND found.node = %(node)s
"""


class CheckDisk:
    """The type check_disk."""

    spec = TypeSpec(
        name="check_disk",
        locations=frozenset(Location),
        options=(
            Option(key="fix", kind=Kind.BOOLEAN, default=False),
            Option(key="sample", kind=Kind.BOOLEAN, default=False),
            Option(key="only_unhealthy", kind=Kind.BOOLEAN, default=False),
            Option(key="storage_ids", kind=Kind.LIST, names=Names.SEGMENT),
        ),
        hung_after_s=HUNG_AFTER_S,
    )

    def offered(self, settings: Any) -> bool:
        """Say whether a node has disks to check."""
        return has_disks(settings)

    def plan(self, planning: ClaimedSubtask) -> Plan:
        """Return a subtask for each live node that has segments to check."""
        with opened(planning) as site:
            wanted = _wanted(site, planning)
            live = {
                row["node"]
                for row in site.catalogue.read(statements.DEVICES)
                if row["state"] != "offline" or row["error"] != "its node is not live"
            }
        only = planning.location_name if planning.location is Location.NODE else None
        by_node: dict[str, list[Row]] = {}
        for segment in wanted:
            by_node.setdefault(str(segment["node"]), []).append(segment)
        skipped = sorted(node for node in by_node if node not in live)
        return Plan(
            tuple(
                PlannedSubtask(
                    entity=node,
                    node=node,
                    units=len(segments),
                    size=sum(each["file_bytes"] for each in segments),
                )
                for node, segments in sorted(by_node.items())
                if node in live and only in (None, node)
            ),
            {"nodes_not_live": skipped},
        )

    def run(self, subtask: ClaimedSubtask) -> SubtaskEnd:
        """Check the segments on this node's disks, one by one."""
        found: Counter[str] = Counter()
        size = 0
        with opened(subtask) as site:
            wanted = [each for each in _wanted(site, subtask) if each["node"] == subtask.node]
            known = site.catalogue.read(
                DONE_ALREADY, operation=subtask.operation, node=subtask.node
            )
            done = {row["segment"] for row in known}
            pace = _pace()
            for segment in wanted:
                if subtask.stop_asked():
                    return STOPPED
                if segment["segment"] not in done:
                    found[_checked(site, segment, pace)] += 1
                else:
                    found["checked before"] += 1
                size += segment["file_bytes"]
                site.progress(units=sum(found.values()), size=size, total=len(wanted))
        return SubtaskEnd(SubtaskState.DONE, "", dict(found))


def _wanted(site: Site, subtask: ClaimedSubtask) -> Sequence[Row]:
    """Return the segments of committed checkpoints that the options name."""
    named = subtask.options.get("storage_ids")
    ids = None if named is None else {str(each).lower() for each in named}
    only_unhealthy = subtask.options.get("only_unhealthy", False)
    return [
        each
        for each in site.segments()
        if each["state"] != "WRITING"
        and (ids is None or each["segment"] in ids)
        and (not only_unhealthy or each["status"] != "INTACT")
    ]


def _checked(site: Site, segment: Row, pace: Pace) -> str:
    """Check one segment, and write down what was found; return the verdict."""
    subtask = site.subtask
    sample = bool(subtask.options.get("sample", False))
    before = segment["state"]
    try:
        disk = Disk(path_in(segment["url"]), segment["device"])
        finding = check(
            disk,
            segment["segment"],
            segment["digest"],
            sample=sample,
            # Each operation reads other blocks: in the end every one is looked at.
            seed=zlib.crc32(f"{subtask.operation} {segment['segment']}".encode()),
            pace=pace,
            moved=site.moved,
        )
        after = state_after_check(
            before,
            finding.verdict,
            whole=finding.whole or finding.verdict != "INTACT",
            fix=bool(subtask.options.get("fix", False)),
        )
    except DiskError as error:
        finding, after = Finding(verdict=MISSING, detail=str(error)), before
    changes = []
    if after != before:
        changes.append(
            SegmentChange(
                segment=segment["segment"],
                version=segment["version"],
                state=after,
                checked=finding.whole,
            )
        )
    if not site.change(changes, (statements.NOTE_CHECK, _row(subtask, segment, finding, after))):
        # It changed meanwhile: what was found is told, and nothing is changed.
        site.change([], (statements.NOTE_CHECK, _row(subtask, segment, finding, before)))
    return finding.verdict


def _row(subtask: ClaimedSubtask, segment: Row, finding: Finding, after: str) -> dict[str, object]:
    return {
        "operation": subtask.operation,
        "node": subtask.node,
        "device": segment["device"],
        "segment": segment["segment"],
        "checkpoint": segment["checkpoint"],
        "state_before": segment["state"],
        "verdict": finding.verdict,
        "block_count": finding.block_count,
        "blocks_checked": finding.blocks_checked,
        "stored_digest": finding.stored_digest,
        "computed_digest": finding.computed_digest,
        "state_after": after,
        "detail": finding.detail,
    }


def _pace() -> Pace:
    """Return the pace of a check by the clocks of this machine."""
    return Pace(BoottimeClock().now, threading.Event().wait)

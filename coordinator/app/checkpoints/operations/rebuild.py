"""rebuild: segments that are DAMAGED, MISSING or unreachable are made again from the others.

A file that is there and whole is taken as it is. All else is made from any data segments on a
device whose node has none of the checkpoint. Beyond parity the verdict has the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from coordinator.segments.codec import codec_of
from coordinator.segments.faults import CheckpointLostError
from coordinator.segments.file import file_bytes
from coordinator.segments.layout import Layout
from coordinator.segments.placing import choose_one
from coordinator.segments.salvage import Salvage
from coordinator.segments.striping import FAULTS, Gathering
from coordinator.store.checkpoints.records import SegmentChange


class Rebuild:
    """The type rebuild."""

    spec = TypeSpec(
        name="rebuild",
        locations=frozenset({Location.SYSTEM, Location.CLUSTER}),
        options=(
            Option(key="node", kind=Kind.STRING, names=Names.NODE),
            Option(key="segment_groups", kind=Kind.LIST, names=Names.SEGMENT_GROUP),
            Option(key="table_id", kind=Kind.STRING, names=Names.PROGRAM),
        ),
        result=True,
        hung_after_s=HUNG_AFTER_S,
    )

    def offered(self, settings: Any) -> bool:
        """Say whether a node has disks, and so a part in checkpoints."""
        return has_disks(settings)

    def plan(self, planning: ClaimedSubtask) -> Plan:
        """Return a subtask for each checkpoint that has something to rebuild."""
        options = planning.options
        groups = options.get("segment_groups")
        wanted = None if groups is None else {int(each) for each in groups}
        with opened(planning) as site:
            rows = {row["id"]: row for row in site.checkpoints()}
            unhealthy: dict[int, list[Row]] = {}
            for segment in site.segments():
                row = rows.get(segment["checkpoint"])
                if row is None or segment["status"] == "INTACT":
                    continue
                if wanted is not None and row["id"] not in wanted:
                    continue
                if options.get("table_id") not in (None, row["token"]):
                    continue
                if options.get("node") not in (None, segment["node"]):
                    continue
                unhealthy.setdefault(row["id"], []).append(segment)
        return Plan(
            tuple(
                PlannedSubtask(
                    entity=str(checkpoint),
                    units=len(segments),
                    size=sum(each["file_bytes"] for each in segments),
                )
                for checkpoint, segments in sorted(unhealthy.items())
            ),
            {
                "segment_groups": len(unhealthy),
                "segments": sum(map(len, unhealthy.values())),
            },
        )

    def run(self, subtask: ClaimedSubtask) -> SubtaskEnd:
        """Rebuild the segments of one checkpoint; each counts as soon as it is whole."""
        adopted = rebuilt = size = 0
        with opened(subtask) as site:
            rows = site.checkpoints(int(subtask.entity))
            if not rows:
                return SubtaskEnd(SubtaskState.SKIPPED, "the checkpoint has expired")
            row, layout = rows[0], layout_of(rows[0])
            # Whole files are taken first: the others may have to be made of them.
            for segment in _unhealthy(site, row):
                if subtask.stop_asked():
                    return STOPPED
                if _adopted(site, segment):
                    adopted += 1
                    size += segment["file_bytes"]
                    site.progress(units=adopted, size=size)
            for segment in _unhealthy(site, row):
                if subtask.stop_asked():
                    return STOPPED
                try:
                    rebuilt += _rebuilt(site, row, layout, segment)
                except CheckpointLostError as error:
                    return SubtaskEnd(SubtaskState.LOST, str(error))
                size += segment["file_bytes"]
                site.progress(units=adopted + rebuilt, size=size)
        result = {"adopted": adopted, "rebuilt": rebuilt}
        if adopted + rebuilt == 0:
            return SubtaskEnd(SubtaskState.SKIPPED, "all its segments are intact", result)
        return SubtaskEnd(SubtaskState.DONE, "", result)


def _unhealthy(site: Site, row: Row) -> list[Row]:
    """Return the segments of a checkpoint that are to be made whole, as far as they are named."""
    named = site.subtask.options.get("node")
    return [
        each
        for each in site.segments(row["id"])
        if each["status"] != "INTACT" and named in (None, each["node"])
    ]


def _adopted(site: Site, segment: Row) -> bool:
    """Take a file that is there and whole as it is, where the catalogue says otherwise."""
    if segment["state"] == "INTACT":
        return False  # it cannot be reached, whatever it is
    try:
        if not site.whole(segment):
            return False
    except FAULTS:
        return False
    return site.change(
        [
            SegmentChange(
                segment=segment["segment"], version=segment["version"], state="INTACT", checked=True
            )
        ]
    )


def _rebuilt(site: Site, row: Row, layout: Layout, segment: Row) -> bool:
    """Make one segment again; false when somebody else changed it meanwhile.

    Errors: CheckpointLostError; DiskError; SegmentDamagedError.
    """
    subtask, others = site.subtask, _others(site, row, segment)
    devices, known = site.devices()
    target = choose_one(
        known,
        file_bytes(layout),
        {each["node"] for each in others if each["status"] == "INTACT"},
        {each["device"] for each in others if each["status"] == "INTACT"},
    )
    former = "MISSING" if segment["state"] in ("INTACT", "REBUILDING") else segment["state"]
    claimed = SegmentChange(
        segment=segment["segment"],
        version=segment["version"],
        state="REBUILDING",
        owner=subtask.node,
        owner_term=subtask.term,
    )
    if not site.change([claimed], site.intent(segment["segment"], target.device)):
        return False
    version = segment["version"] + 1
    try:
        where = located(segment["segment"], devices[target.device])
        header = site.header(row, segment)
        try:
            blocks = _blocks(site, row, layout, segment["place"], others)
            site.write(where, header, blocks, segment["digest"])
        except CheckpointLostError as error:
            # Too few are whole. Their blocks may suffice, with those of the segment itself (V8).
            salvaged = _salvaged(site, row, layout, segment["place"], [*others, segment])
            try:
                site.write(where, header, salvaged, segment["digest"])
            except CheckpointLostError:
                raise error from None
    except (CheckpointLostError, *FAULTS):
        # Given back as what it was: another node, or a later operation, may have more luck.
        state = segment["state"] if segment["state"] != "REBUILDING" else former
        site.change([SegmentChange(segment=segment["segment"], version=version, state=state)])
        raise
    done = SegmentChange(
        segment=segment["segment"],
        version=version,
        state="INTACT",
        device=target.device,
        checked=True,
    )
    more = []
    if segment["device"] != target.device:
        more.append(leaving(segment["segment"], segment["device"], LATE_S))
    return site.change([done], *more)


def _others(site: Site, row: Row, segment: Row) -> list[Row]:
    """Return the other segments of a checkpoint, first those that can be read by the catalogue.

    The rest may be whole all the same: its blocks have checksums, and the result has a digest.
    """
    others = [each for each in site.segments(row["id"]) if each["segment"] != segment["segment"]]
    return sorted(others, key=lambda each: (each["status"] != "INTACT", each["place"]))


def _salvaged(site: Site, row: Row, layout: Layout, place: int, all_: list[Row]) -> Iterator[bytes]:
    """Return the blocks of a place, from all blocks of all segments that match their checksums."""
    by_place = {each["place"]: each for each in all_}

    def opened_at(at: int, stripe: int) -> Iterator[bytes]:
        segment = by_place[at]
        header = site.header(row, segment)
        return site.places.single_blocks(
            located(segment["segment"], segment), header, layout, stripe
        )

    salvage = Salvage(layout, codec_of(layout), opened_at, list(by_place))
    for blocks in salvage.blocks_of([place]):
        yield blocks[place]


def _blocks(site: Site, row: Row, layout: Layout, place: int, others: list[Row]) -> Iterator[bytes]:
    """Return the blocks of a place, made from those of others."""
    by_place = {each["place"]: each for each in others}

    def opened_at(at: int, stripe: int) -> Iterator[bytes]:
        segment = by_place[at]
        header = site.header(row, segment)
        return site.places.blocks(located(segment["segment"], segment), header, layout, stripe)

    gathering = Gathering(layout, codec_of(layout), opened_at, list(by_place))
    for blocks in gathering.blocks_of([place]):
        yield blocks[place]

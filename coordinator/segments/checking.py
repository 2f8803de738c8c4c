"""Check of one segment's file on its disk: whole, or a sample of its blocks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from coordinator.segments.devices.disk import Disk, Reading
from coordinator.segments.devices.pace import Pace, Paced
from coordinator.segments.faults import DiskError, SegmentAbsentError, SegmentDamagedError
from coordinator.segments.file import (
    TRAILER_BYTES,
    SegmentReader,
    Source,
    check_block,
    exactly,
    file_bytes,
    offset_of,
    seed_of,
    stored_digest,
)
from coordinator.segments.header import HEADER_BYTES, Header, unpack

#: So many blocks are a sample, the first and the last among them.
SAMPLE_BLOCKS = 8
INTACT, DAMAGED, MISSING = "INTACT", "DAMAGED", "MISSING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Finding of one check.

    verdict: INTACT, DAMAGED or MISSING.
    whole: every byte was read; only then INTACT says all.
    """

    verdict: str
    whole: bool = False
    block_count: int = 0
    blocks_checked: int = 0
    stored_digest: bytes | None = None
    computed_digest: bytes | None = None
    detail: str | None = None
    header: Header | None = None


def check(
    disk: Disk,
    segment: str,
    digest: bytes | None,
    *,
    sample: bool = False,
    seed: int = 0,
    pace: Pace | None = None,
    moved: Callable[[int], object] = lambda _read: None,
) -> Finding:
    """Check a segment's file as it is on the disk.

    digest: the one that the catalogue has; None accepts the file's own.
    sample: only the header, the end and some blocks; `seed` chooses which.
    pace: at which the blocks are read; None reads on and on.
    moved: called with the number of bytes that were read.
    Errors: DiskError when the device itself is not there: that says nothing about the file.
    """
    try:
        with disk.reading(segment) as reading:
            reading.forget_cached()
            if sample:
                return _sampled(reading, segment, digest, seed, pace, moved)
            return _whole(_paced(reading, pace), segment, digest, moved)
    except SegmentAbsentError as error:
        return Finding(verdict=MISSING, detail=str(error))
    except SegmentDamagedError as error:
        return Finding(verdict=DAMAGED, detail=str(error))


def _whole(
    source: Source, segment: str, digest: bytes | None, moved: Callable[[int], object]
) -> Finding:
    reader = SegmentReader(source, segment)
    header, checked = reader.header, 0
    detail: str | None = None
    try:
        for block in reader.blocks():
            checked += 1
            moved(len(block))
    except SegmentDamagedError as error:
        detail = str(error)
    if detail is None and digest is not None and reader.stored != digest:
        detail = "its digest is not the one of the catalogue"
    return Finding(
        verdict=INTACT if detail is None else DAMAGED,
        whole=True,
        block_count=header.layout.stripe_count,
        blocks_checked=checked,
        stored_digest=reader.stored or digest,
        computed_digest=reader.computed or None,
        detail=detail,
        header=header,
    )


def _sampled(
    reading: Reading,
    segment: str,
    digest: bytes | None,
    seed: int,
    pace: Pace | None,
    moved: Callable[[int], object],
) -> Finding:
    header = unpack(exactly(reading, HEADER_BYTES))
    if header.segment != segment:
        raise SegmentDamagedError(f"it is the file of segment {header.segment}")
    layout, length = header.layout, file_bytes(header.layout)
    if reading.length() != length:
        raise SegmentDamagedError(f"it has {reading.length()} bytes instead of {length}")
    stored = stored_digest(exactly(Reading(reading.file, length - TRAILER_BYTES), TRAILER_BYTES))
    if digest is not None and stored != digest:
        raise SegmentDamagedError("its digest is not the one of the catalogue")
    checked = 0
    for stripe in _chosen(layout.stripe_count, seed):
        at = _paced(Reading(reading.file, offset_of(layout, stripe)), pace)
        block = exactly(at, layout.block_of(stripe))
        check_block(seed_of(header), stripe, block, exactly(at, 4))
        checked += 1
        moved(len(block))
    return Finding(
        verdict=INTACT,
        block_count=layout.stripe_count,
        blocks_checked=checked,
        stored_digest=stored,
        header=header,
    )


def _paced(reading: Reading, pace: Pace | None) -> Source:
    return reading if pace is None else Paced(reading, pace)


def _chosen(count: int, seed: int) -> list[int]:
    """Return the blocks of a sample."""
    if count <= SAMPLE_BLOCKS:
        return list(range(count))
    inner = random.Random(seed).sample(range(1, count - 1), SAMPLE_BLOCKS - 2)  # noqa: S311
    return [0, *sorted(inner), count - 1]


__all__ = ["DAMAGED", "INTACT", "MISSING", "DiskError", "Finding", "check"]

"""Checkpoints on disks that lie in a test's directory, without nodes and without a catalogue."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from coordinator.segments.codec import codec_of
from coordinator.segments.devices.disk import Disk
from coordinator.segments.devices.marker import make_device
from coordinator.segments.file import SegmentReader, SegmentWriter, blocks_from, offset_of
from coordinator.segments.header import Header
from coordinator.segments.layout import Layout
from coordinator.segments.striping import Gathering, spread


def disk_in(folder: Path) -> Disk:
    """Make a directory a device."""
    folder.mkdir(parents=True, exist_ok=True)
    return Disk(folder, make_device(folder))


def header_of(layout: Layout, place: int = 0, segment: str | None = None) -> Header:
    return Header(
        segment=segment or str(uuid.uuid4()),
        checkpoint=7,
        group="orders",
        token="orders/mail",
        term=3,
        session=str(uuid.UUID(int=5)),
        sequence=11,
        form="bytes",
        place=place,
        layout=layout,
    )


def whole_file(header: Header, blocks: list[bytes]) -> bytes:
    """Return the bytes of a segment's file."""
    sink = io.BytesIO()
    writer = SegmentWriter(header, sink.write)
    for block in blocks:
        writer.add(block)
    writer.finish()
    return sink.getvalue()


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint whose segments lie on a disk each."""

    layout: Layout
    headers: list[Header]
    digests: list[bytes]
    disks: list[Disk]

    def path(self, place: int) -> Path:
        return self.disks[place].path_of(self.headers[place].segment)

    def open(self, place: int, stripe: int) -> Iterator[bytes]:
        """Open the blocks of a place, as a reader of a checkpoint does."""
        header, disk = self.headers[place], self.disks[place]
        offset = offset_of(self.layout, stripe) if stripe else 0
        with disk.reading(header.segment, offset) as reading:
            if stripe:
                yield from blocks_from(reading, header, stripe)
            else:
                yield from SegmentReader(reading, header.segment).blocks()

    def gathering(self, *places: int) -> Gathering:
        chosen = places or tuple(range(self.layout.segment_count))
        return Gathering(self.layout, codec_of(self.layout), self.open, chosen)

    def content(self, *places: int) -> bytes:
        return b"".join(self.gathering(*places).content())


def store(folder: Path, layout: Layout, content: bytes) -> Stored:
    """Write a checkpoint, each segment onto a disk of its own."""
    disks = [disk_in(folder / f"disk-{place}") for place in range(layout.segment_count)]
    headers = [header_of(layout, place) for place in range(layout.segment_count)]
    with ExitStack() as stack:
        writings = [
            stack.enter_context(disk.writing(header.segment))
            for disk, header in zip(disks, headers, strict=True)
        ]
        writers = [
            SegmentWriter(header, writing.write)
            for header, writing in zip(headers, writings, strict=True)
        ]
        digests = spread(io.BytesIO(content), layout, codec_of(layout), writers)
        for writing in writings:
            writing.keep()
    return Stored(layout, headers, digests, disks)

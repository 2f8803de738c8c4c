"""Content to segments and back, stripe by stripe, with flat memory whatever the length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from coordinator.segments.ahead import ahead
from coordinator.segments.codec import Codec
from coordinator.segments.faults import (
    CheckpointLostError,
    DiskError,
    SegmentAbsentError,
    SegmentDamagedError,
    SourceChangedError,
)
from coordinator.segments.file import SegmentWriter, Source
from coordinator.segments.layout import Layout

#: Opens the blocks of the segment at a place, from a stripe on.
Opener = Callable[[int, int], Iterator[bytes]]
#: Faults of one segment, for which another one is read instead.
FAULTS = (SegmentDamagedError, SegmentAbsentError, DiskError, OSError)
T = TypeVar("T")
#: Stripes that are handed to the writers together: so much that a thread's start does not show, and
#: 1 to 4 MiB in memory, twice.
BATCH_STRIPES = 16


def spread(
    source: Source, layout: Layout, codec: Codec, writers: Sequence[SegmentWriter]
) -> list[bytes]:
    """Write the content of a source into its segments; return their digests.

    Each writer has a thread: it computes digests, and waits for its disk or for another node. The
    next stripes are read and encoded meanwhile.
    Errors: SourceChangedError when the source is shorter or longer than it was to be; those of the
    writers.
    """
    with ThreadPoolExecutor(len(writers), "coord-spread") as pool:
        writing: list[Future[None]] = []
        for first in range(0, layout.stripe_count, BATCH_STRIPES):
            stripes = range(first, min(first + BATCH_STRIPES, layout.stripe_count))
            encoded = [_encoded(source, layout, codec, stripe) for stripe in stripes]
            for each in writing:
                each.result()
            writing = [
                pool.submit(_add_all, writer, blocks)
                for writer, blocks in zip(writers, zip(*encoded, strict=True), strict=True)
            ]
        for each in writing:
            each.result()
    if source.read(1):
        raise SourceChangedError("it grew while it was read")
    return [writer.finish() for writer in writers]


def _encoded(source: Source, layout: Layout, codec: Codec, stripe: int) -> list[bytes]:
    """Return the blocks of all segments of the next stripe."""
    content = _read(source, layout.content_of(stripe))
    block_bytes = layout.block_of(stripe)
    return codec.encode(content.ljust(layout.data_count * block_bytes, b"\0"), block_bytes)


def _add_all(writer: SegmentWriter, blocks: Sequence[bytes]) -> None:
    for block in blocks:
        writer.add(block)


class Gathering:
    """Content of a checkpoint from any data_count of its segments.

    opener: opens the blocks of a place from a stripe on.
    places: those to try, in the order of preference.
    faults: afterwards, of the places that failed, the reason of each.
    """

    def __init__(self, layout: Layout, codec: Codec, opener: Opener, places: Sequence[int]) -> None:
        self._layout, self._codec, self._opener = layout, codec, opener
        self._spares = list(places)
        self._open: dict[int, Iterator[bytes]] = {}
        self.faults: dict[int, str] = {}

    def content(self) -> Iterator[bytes]:
        """Return the content, piece by piece.

        Errors: CheckpointLostError when too few segments can be read; SegmentDamagedError when the
        digest of one that was read whole does not match: then what was returned is not to be used.
        """
        data_places = range(self._layout.data_count)
        for stripe, blocks in self._stripes():
            missing = [place for place in data_places if place not in blocks]
            whole = {**blocks, **self._codec.restore(blocks, missing)} if missing else blocks
            content = b"".join(whole[place] for place in data_places)
            yield content[: self._layout.content_of(stripe)]

    def blocks_of(self, wanted: Sequence[int]) -> Iterator[Mapping[int, bytes]]:
        """Return, for each stripe, the blocks of the wanted places, restored from others.

        Errors: as `content`.
        """
        for _, blocks in self._stripes():
            yield self._codec.restore(blocks, wanted)

    def _stripes(self) -> Iterator[tuple[int, dict[int, bytes]]]:
        # Its end waits for what is being read: nobody reads a source that is closed.
        with ThreadPoolExecutor(self._layout.segment_count, "coord-gather") as pool:
            for stripe in range(self._layout.stripe_count):
                yield stripe, self._stripe(stripe, pool)
            # The end of each segment has the check of its digest.
            for place, blocks in self._open.items():
                try:
                    assert next(blocks, None) is None, "a segment has one block for each stripe"
                except SegmentDamagedError as error:
                    self.faults[place] = str(error)
                    raise

    def _stripe(self, stripe: int, pool: ThreadPoolExecutor) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for place in list(self._open):
            self._read(place, found)
        while len(found) < self._layout.data_count and self._spares:
            place = self._spares.pop(0)
            try:
                self._open[place] = ahead(self._opener(place, stripe), pool)
            except FAULTS as error:
                self.faults[place] = fault_text(error)
                continue
            self._read(place, found)
        if len(found) < self._layout.data_count:
            raise lost(self._layout, len(found), self.faults)
        return found

    def _read(self, place: int, found: dict[int, bytes]) -> None:
        try:
            found[place] = next(self._open[place])
        except FAULTS as error:
            self.faults[place] = fault_text(error)
            del self._open[place]


def lost(
    layout: Layout, readable: int, faults: Mapping[int, str], what: str = "segments"
) -> CheckpointLostError:
    """Return the verdict with numbers: how many segments there are, are needed, can be read."""
    reasons = "; ".join(f"segment {place}: {fault}" for place, fault in sorted(faults.items()))
    return CheckpointLostError(
        f"{readable} of {layout.segment_count} {what} can be read, and {layout.data_count} are"
        f" needed{': ' if reasons else ''}{reasons}"
    )


def fault_text(error: Exception) -> str:
    """Return the text of a fault, for people."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _read(source: Source, size: int) -> bytes:
    parts: list[bytes] = []
    left = size
    while left:
        part = source.read(left)
        if not part:
            raise SourceChangedError("it became shorter while it was read")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)

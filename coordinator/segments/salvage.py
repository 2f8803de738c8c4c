"""Content of a checkpoint block by block, where too few of its segments are whole (V8).

Each stripe is restored from any data_count blocks that match their checksums, whichever segments
they are of. So two halves of a mirror that are damaged in different blocks are one whole. A
checksum of a block is 32 bits wide: what was put together counts only when the digests of whole
segments, computed anew, are those of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coordinator.segments.codec import Codec
from coordinator.segments.faults import SegmentDamagedError
from coordinator.segments.file import SegmentWriter
from coordinator.segments.header import Header
from coordinator.segments.layout import Layout
from coordinator.segments.striping import FAULTS, Opener, fault_text, lost


@dataclass(frozen=True, slots=True)
class Expected:
    """A segment as the catalogue has it."""

    header: Header
    digest: bytes


class Salvage:
    """Stripes from whatever blocks can be read.

    opener: opens the blocks of a place from a stripe on, each checked by its own checksum alone.
    places: those to try, in the order of preference.
    faults: afterwards, the first fault of each place.
    """

    def __init__(self, layout: Layout, codec: Codec, opener: Opener, places: Sequence[int]) -> None:
        self._layout, self._codec, self._opener = layout, codec, opener
        self._places = list(places)
        self._open: dict[int, Iterator[bytes]] = {}
        self.faults: dict[int, str] = {}

    def content(self, expected: Mapping[int, Expected]) -> Iterator[bytes]:
        """Return the content, piece by piece; the digest of every data segment is computed anew.

        expected: the data segments, by place.
        Errors: CheckpointLostError when a stripe has too few blocks; SegmentDamagedError at the
        end when a digest is another one: then what was returned is not to be used.
        """
        places = range(self._layout.data_count)
        writers = {
            place: SegmentWriter(expected[place].header, lambda _part: None) for place in places
        }
        for stripe, blocks in enumerate(self.blocks_of(places)):
            for place, writer in writers.items():
                writer.add(blocks[place])
            whole = b"".join(blocks[place] for place in places)
            yield whole[: self._layout.content_of(stripe)]
        for place, writer in writers.items():
            if writer.finish() != expected[place].digest:
                raise SegmentDamagedError(
                    f"segment {place} came out with another digest than the catalogue has"
                )

    def blocks_of(self, wanted: Sequence[int]) -> Iterator[Mapping[int, bytes]]:
        """Return, for each stripe, the blocks of the wanted places, read or restored.

        Errors: CheckpointLostError.
        """
        for stripe in range(self._layout.stripe_count):
            found = self._stripe(stripe)
            missing = [place for place in wanted if place not in found]
            yield {**found, **self._codec.restore(found, missing)} if missing else found

    def _stripe(self, stripe: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        # Those that are open have given the blocks before: they come first, and all of them go on.
        for place in sorted(self._places, key=lambda each: each not in self._open):
            if place in self._open or len(found) < self._layout.data_count:
                self._read(place, stripe, found)
        if len(found) < self._layout.data_count:
            raise lost(self._layout, len(found), self.faults, f"blocks of stripe {stripe}")
        return dict(sorted(found.items())[: self._layout.data_count])

    def _read(self, place: int, stripe: int, found: dict[int, bytes]) -> None:
        try:
            if place not in self._open:
                self._open[place] = self._opener(place, stripe)
            found[place] = next(self._open[place])
        except SegmentDamagedError as error:
            # The next block may be whole: it is opened there anew.
            self.faults.setdefault(place, fault_text(error))
            self._open.pop(place, None)
        except FAULTS as error:
            # Its node or its disk is not there, and would be waited for at each stripe.
            self.faults.setdefault(place, fault_text(error))
            self._open.pop(place, None)
            self._places.remove(place)

"""A segment's file, block by block: header, blocks with a checksum each, digest of all.

    header     1,024 bytes, with a CRC-32 of its own
    block n    its bytes, then a CRC-32 over the segment's id, n and these bytes
    trailer    magic, SHA-256 over all before it, a CRC-32 of the trailer

The checksum of a block knows its place, so a block at another place, or of another file, is found.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from coordinator.segments.faults import SegmentDamagedError
from coordinator.segments.header import HEADER_BYTES, Header, unpack
from coordinator.segments.layout import Layout

_CRC = struct.Struct("<I")
_TRAILER = struct.Struct("<8s32s")
_END = b"coordend"
TRAILER_BYTES = _TRAILER.size + _CRC.size


class Source(Protocol):
    """Anything that bytes are read from, in order."""

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes; none at the end."""
        ...


def file_bytes(layout: Layout) -> int:
    """Return the length of the whole file of a segment."""
    return HEADER_BYTES + layout.payload_bytes + _CRC.size * layout.stripe_count + TRAILER_BYTES


def offset_of(layout: Layout, stripe: int) -> int:
    """Return the place in the file at which a block begins."""
    return HEADER_BYTES + stripe * (layout.block_bytes + _CRC.size)


def new_digest() -> hashlib._Hash:
    """Return the digest of content, with nothing in it yet; processors have instructions for it."""
    return hashlib.sha256()


def digest_of(parts: Iterator[bytes]) -> bytes:
    """Return the digest of a checkpoint: over those of all its segments, in their order."""
    whole = new_digest()
    for part in parts:
        whole.update(part)
    return whole.digest()


class SegmentWriter:
    """Turns the blocks of a segment into the bytes of its file, in order.

    sink: takes them.
    """

    def __init__(self, header: Header, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._seed = _seed(header.segment)
        self._index = 0
        self._digest = new_digest()
        self._put(header.pack())

    def add(self, block: bytes) -> None:
        """Write the next block."""
        # One write: four bytes alone would be a record of their own on the way to another node.
        self._put(block + _CRC.pack(_checksum(self._seed, self._index, block)))
        self._index += 1

    def finish(self) -> bytes:
        """Write the trailer, and return the digest."""
        digest = self._digest.digest()
        trailer = _TRAILER.pack(_END, digest)
        self._sink(trailer + _CRC.pack(zlib.crc32(trailer)))
        return digest

    def _put(self, part: bytes) -> None:
        self._digest.update(part)
        self._sink(part)


class SegmentReader:
    """Reads a segment's file from its first byte, and believes nothing.

    expected: the segment that it should be; another one's file is damage.
    Errors: SegmentDamagedError.
    """

    def __init__(self, source: Source, expected: str) -> None:
        self._source = source
        self._digest = new_digest()
        self.header = unpack(self._take(HEADER_BYTES))
        if self.header.segment != expected:
            raise SegmentDamagedError(f"it is the file of segment {self.header.segment}")
        self.computed = b""
        self.stored = b""

    def blocks(self) -> Iterator[bytes]:
        """Return each block, after its check; at the end the digest is checked, too."""
        layout, seed = self.header.layout, _seed(self.header.segment)
        for stripe in range(layout.stripe_count):
            length = layout.block_of(stripe)
            part = self._take(length + _CRC.size)
            block = part[:length]
            check_block(seed, stripe, block, part[length:])
            yield block
        self.computed = self._digest.digest()
        self.stored = stored_digest(exactly(self._source, TRAILER_BYTES))
        if self._source.read(1):
            raise SegmentDamagedError("it goes on behind its end")
        if self.stored != self.computed:
            raise SegmentDamagedError("its content does not match its digest")

    def _take(self, size: int) -> bytes:
        part = exactly(self._source, size)
        self._digest.update(part)
        return part


def blocks_from(source: Source, header: Header, first: int) -> Iterator[bytes]:
    """Return the blocks from one on, of a source that begins there, each after its check.

    Errors: SegmentDamagedError.
    """
    seed = _seed(header.segment)
    for stripe in range(first, header.layout.stripe_count):
        block = exactly(source, header.layout.block_of(stripe))
        check_block(seed, stripe, block, exactly(source, _CRC.size))
        yield block


def check_block(seed: int, stripe: int, block: bytes, crc: bytes) -> None:
    """Raise SegmentDamagedError unless the checksum is that of this block at this place."""
    if _CRC.unpack(crc) != (_checksum(seed, stripe, block),):
        raise SegmentDamagedError(f"block {stripe} does not match its checksum")


def stored_digest(trailer: bytes) -> bytes:
    """Return the digest that a trailer has.

    Errors: SegmentDamagedError.
    """
    body, crc = trailer[: _TRAILER.size], trailer[_TRAILER.size :]
    end, digest = _TRAILER.unpack(body)
    if end != _END or _CRC.unpack(crc) != (zlib.crc32(body),):
        raise SegmentDamagedError("its end does not match its checksum")
    return bytes(digest)


def exactly(source: Source, size: int) -> bytes:
    """Read so many bytes.

    Errors: SegmentDamagedError when there are fewer.
    """
    parts: list[bytes] = []
    left = size
    while left:
        part = source.read(left)
        if not part:
            raise SegmentDamagedError("it ends too early")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def seed_of(header: Header) -> int:
    """Return the number with which the checksums of a segment's blocks begin."""
    return _seed(header.segment)


def _seed(segment: str) -> int:
    return zlib.crc32(uuid.UUID(segment).bytes)


def _checksum(seed: int, index: int, block: bytes) -> int:
    return zlib.crc32(block, zlib.crc32(index.to_bytes(8, "little"), seed))

"""Header of a segment's file: all that the catalogue says of it, so that files alone restore it."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

from coordinator.errors import ConfigError
from coordinator.segments.faults import SegmentDamagedError
from coordinator.segments.layout import Layout

HEADER_BYTES = 1024
MAGIC = b"coordseg"
VERSION = 1
FORMS = ("bytes", "file", "directory")

#: Magic, version, segment, checkpoint, place, data, parity, form, term, sequence, block, length.
_FIELDS = struct.Struct("<8sH16sQHHHBqqIQ16s")
_NAME = struct.Struct("<H")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Identity of one segment.

    checkpoint: number of its group of segments.
    place: 0 to data_count - 1 have content, the others parity.
    """

    segment: str
    checkpoint: int
    group: str
    token: str
    term: int
    session: str
    sequence: int
    form: str
    place: int
    layout: Layout

    def pack(self) -> bytes:
        """Return the header's bytes.

        Errors: ConfigError when the names are too long.
        """
        layout = self.layout
        fields = _FIELDS.pack(
            *(MAGIC, VERSION, uuid.UUID(self.segment).bytes, self.checkpoint, self.place),
            *(layout.data_count, layout.parity_count, FORMS.index(self.form)),
            *(self.term, self.sequence, layout.block_bytes, layout.length),
            uuid.UUID(self.session).bytes,
        )
        names = b"".join(_named(name) for name in (self.group, self.token))
        body = fields + names
        room = HEADER_BYTES - _CRC.size
        if len(body) > room:
            raise ConfigError(f"{self.token}: its name is too long for the header of a segment")
        body = body.ljust(room, b"\0")
        return body + _CRC.pack(zlib.crc32(body))


def unpack(packed: bytes) -> Header:
    """Return the header that was packed.

    Errors: SegmentDamagedError.
    """
    if len(packed) < HEADER_BYTES:
        raise SegmentDamagedError(f"it ends in its header, after {len(packed)} bytes")
    body, crc = packed[: -_CRC.size], packed[-_CRC.size :]
    if _CRC.unpack(crc) != (zlib.crc32(body),):
        raise SegmentDamagedError("its header does not match its checksum")
    magic, version, segment, checkpoint, place, data, parity, form, *rest = _FIELDS.unpack_from(
        body
    )
    term, sequence, block_bytes, length, session = rest
    if magic != MAGIC or version != VERSION:
        raise SegmentDamagedError(f"it is no segment of version {VERSION}")
    group, offset = _name_at(body, _FIELDS.size)
    token, _ = _name_at(body, offset)
    return Header(
        segment=str(uuid.UUID(bytes=segment)),
        checkpoint=checkpoint,
        group=group,
        token=token,
        term=term,
        session=str(uuid.UUID(bytes=session)),
        sequence=sequence,
        form=FORMS[form],
        place=place,
        layout=Layout(data_count=data, parity_count=parity, length=length, block_bytes=block_bytes),
    )


def _named(name: str) -> bytes:
    encoded = name.encode()
    return _NAME.pack(len(encoded)) + encoded


def _name_at(body: bytes, offset: int) -> tuple[str, int]:
    (length,) = _NAME.unpack_from(body, offset)
    start = offset + _NAME.size
    return body[start : start + length].decode(), start + length

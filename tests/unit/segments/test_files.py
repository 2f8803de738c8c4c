"""A segment's file: what was written is read, and nothing else is."""

from __future__ import annotations

import io
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import ConfigError
from coordinator.segments.faults import SegmentDamagedError
from coordinator.segments.file import SegmentReader, file_bytes
from coordinator.segments.header import HEADER_BYTES, unpack
from coordinator.segments.layout import Layout
from tests.support.segment_files import header_of, whole_file

SMALL = 128  #: bytes of a block, so that an example has several of them


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    return Layout(
        data_count=draw(st.integers(1, 6)),
        parity_count=draw(st.integers(0, 3)),
        length=draw(st.integers(0, 5_000)),
        block_bytes=SMALL,
    )


def blocks_of(layout: Layout) -> list[bytes]:
    return [
        bytes([stripe % 251]) * layout.block_of(stripe) for stripe in range(layout.stripe_count)
    ]


@given(layouts())
def test_stripes_hold_the_content_exactly(layout: Layout):
    contents = [layout.content_of(stripe) for stripe in range(layout.stripe_count)]

    assert sum(contents) == layout.length
    for stripe, content in enumerate(contents):
        room = layout.data_count * layout.block_of(stripe)
        assert 0 < content <= room <= layout.stripe_bytes
        assert room - content < layout.data_count * 64 + 64
    assert layout.payload_bytes == sum(map(layout.block_of, range(layout.stripe_count)))


@given(layouts())
def test_a_file_is_read_as_it_was_written_and_has_the_length_foreseen(layout: Layout):
    header, blocks = header_of(layout), blocks_of(layout)

    whole = whole_file(header, blocks)

    reader = SegmentReader(io.BytesIO(whole), header.segment)
    assert reader.header == header
    assert list(reader.blocks()) == blocks
    assert len(whole) == file_bytes(layout)


@given(layouts(), st.data())
def test_every_flipped_bit_is_found(layout: Layout, data: st.DataObject):
    header = header_of(layout)
    whole = bytearray(whole_file(header, blocks_of(layout)))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8

    with pytest.raises(SegmentDamagedError):
        list(SegmentReader(io.BytesIO(bytes(whole)), header.segment).blocks())


@given(layouts(), st.data())
def test_every_other_length_is_found(layout: Layout, data: st.DataObject):
    header = header_of(layout)
    whole = whole_file(header, blocks_of(layout))
    longer = whole + b"\0"
    shorter = whole[: data.draw(st.integers(0, len(whole) - 1))]

    for changed in (longer, shorter):
        with pytest.raises(SegmentDamagedError):
            list(SegmentReader(io.BytesIO(changed), header.segment).blocks())


def test_two_blocks_that_changed_places_are_found():
    layout = Layout(data_count=1, parity_count=1, length=2 * SMALL, block_bytes=SMALL)
    header = header_of(layout)
    whole = whole_file(header, [b"a" * SMALL, b"b" * SMALL])
    first, second = HEADER_BYTES, HEADER_BYTES + SMALL + 4
    swapped = whole[:first] + whole[second : second + SMALL + 4] + whole[first:second]
    swapped += whole[second + SMALL + 4 :]

    with pytest.raises(SegmentDamagedError, match="block 0 does not match"):
        list(SegmentReader(io.BytesIO(swapped), header.segment).blocks())


def test_a_whole_file_of_another_segment_is_damage():
    header = header_of(Layout(data_count=1, parity_count=1, length=3, block_bytes=SMALL))
    whole = whole_file(header, [b"abc"])

    with pytest.raises(SegmentDamagedError, match=f"of segment {header.segment}"):
        SegmentReader(io.BytesIO(whole), str(uuid.uuid4()))


def test_a_header_has_the_longest_names_that_there_are():
    layout = Layout(data_count=4, parity_count=2, length=9)
    header = header_of(layout)
    longest = type(header)(
        **{
            **{name: getattr(header, name) for name in header.__slots__},
            "group": "g" * 256,
            "token": "g" * 120 + "/" + "t" * 135,
        }
    )

    assert unpack(longest.pack()) == longest


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_count": 0},
        {"parity_count": -1},
        {"data_count": 60, "parity_count": 5},
        {"length": -1},
        {"block_bytes": 100},
        {"block_bytes": 0},
    ],
)
def test_a_layout_that_no_code_has_is_refused(wrong: dict[str, int]):
    numbers = {"data_count": 2, "parity_count": 1, "length": 9, "block_bytes": 64}

    with pytest.raises(ConfigError):
        Layout(**{**numbers, **wrong})

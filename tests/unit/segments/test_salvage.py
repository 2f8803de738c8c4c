"""Content from single blocks, where too few segments are whole (V8)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.segments import codec, salvage
from coordinator.segments.codec import codec_of
from coordinator.segments.faults import CheckpointLostError, SegmentDamagedError
from coordinator.segments.file import SegmentWriter, blocks_from, offset_of
from coordinator.segments.layout import Layout
from coordinator.segments.salvage import Expected, Salvage
from tests.support.segment_files import Stored, store

STRIPES = 8


def layout_of(data: int, parity: int) -> Layout:
    return Layout(
        data_count=data, parity_count=parity, length=STRIPES * data * 256 - 7, block_bytes=256
    )


def content_of(layout: Layout) -> bytes:
    return bytes(index * 7 % 251 for index in range(layout.length))


def salvage_of(stored: Stored) -> Salvage:
    def opened(place: int, stripe: int) -> Iterator[bytes]:
        header = stored.headers[place]
        offset = offset_of(stored.layout, stripe)
        with stored.disks[place].reading(header.segment, offset) as reading:
            yield from blocks_from(reading, header, stripe)

    places = range(stored.layout.segment_count)
    return Salvage(stored.layout, codec_of(stored.layout), opened, places)


def expected_of(stored: Stored) -> dict[int, Expected]:
    pairs = zip(stored.headers, stored.digests, strict=True)
    return {place: Expected(*pair) for place, pair in enumerate(pairs)}


def salvaged(stored: Stored) -> bytes:
    return b"".join(salvage_of(stored).content(expected_of(stored)))


def damage(stored: Stored, place: int, stripe: int) -> None:
    """Flip one bit of one block."""
    path = stored.path(place)
    content = bytearray(path.read_bytes())
    content[offset_of(stored.layout, stripe) + 3] ^= 1
    path.write_bytes(content)


def test_two_halves_of_a_mirror_that_are_damaged_in_different_blocks_are_one_whole(tmp_path: Path):
    layout = layout_of(1, 1)
    stored = store(tmp_path, layout, content_of(layout))
    for stripe in (0, 3, 7):
        damage(stored, 0, stripe)
    for stripe in (1, 4):
        damage(stored, 1, stripe)

    with pytest.raises(CheckpointLostError):
        stored.content()
    assert salvaged(stored) == content_of(layout)
    for place in (0, 1):
        blocks = [each[place] for each in salvage_of(stored).blocks_of([place])]
        writer = SegmentWriter(stored.headers[place], lambda _part: None)
        for block in blocks:
            writer.add(block)
        assert writer.finish() == stored.digests[place]


@settings(max_examples=40)
@given(
    st.sampled_from([(1, 1), (1, 2), *([(2, 1), (4, 2)] if codec.has_erasure_code() else [])]),
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, STRIPES - 1)), max_size=14),
)
def test_it_is_restored_exactly_while_each_stripe_has_enough_blocks(
    width: tuple[int, int], wanted: set[tuple[int, int]]
):
    layout = layout_of(*width)
    damaged = {(place % layout.segment_count, stripe) for place, stripe in wanted}
    left = [
        layout.segment_count - sum(each == stripe for _, each in damaged)
        for stripe in range(STRIPES)
    ]
    with TemporaryDirectory() as folder:
        stored = store(Path(folder), layout, content_of(layout))
        for place, stripe in damaged:
            damage(stored, place, stripe)

        if min(left) >= layout.data_count:
            assert salvaged(stored) == content_of(layout)
        else:
            with pytest.raises(CheckpointLostError, match=f"{layout.data_count} are needed"):
                salvaged(stored)


def test_a_damaged_header_and_a_short_file_give_the_blocks_that_they_have(tmp_path: Path):
    layout = layout_of(1, 1)
    stored = store(tmp_path, layout, content_of(layout))
    first, second = stored.path(0).read_bytes(), stored.path(1).read_bytes()
    stored.path(0).write_bytes(bytes(100) + first[100 : offset_of(layout, 5)])
    stored.path(1).write_bytes(second[:900] + bytes(400) + second[1_300:])

    # The blocks 0 to 4 of the one, and those behind of the other.
    assert salvaged(stored) == content_of(layout)


def test_a_file_that_is_gone_is_tried_once(tmp_path: Path):
    layout = layout_of(1, 2)
    stored = store(tmp_path, layout, content_of(layout))
    stored.path(0).unlink()
    for stripe in range(STRIPES):
        damage(stored, 1 + stripe % 2, stripe)
    made = salvage_of(stored)

    assert b"".join(made.content(expected_of(stored))) == content_of(layout)
    assert "no file of it" in made.faults[0]


def forge(stored: Stored, place: int, stripe: int) -> None:
    """Change a block, and its checksum with it: as likely as one in four billion."""
    path, layout = stored.path(place), stored.layout
    at, length = offset_of(layout, stripe), layout.block_of(stripe)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    seed = zlib.crc32(bytes.fromhex(stored.headers[place].segment.replace("-", "")))
    crc = zlib.crc32(content[at : at + length], zlib.crc32(stripe.to_bytes(8, "little"), seed))
    content[at + length : at + length + 4] = crc.to_bytes(4, "little")
    path.write_bytes(content)


def a_forged_mirror(folder: Path) -> Stored:
    layout = layout_of(1, 1)
    stored = store(folder, layout, content_of(layout))
    forge(stored, 0, 2)
    damage(stored, 0, 3)
    damage(stored, 1, 4)
    return stored


def test_a_block_that_matches_its_checksum_by_chance_is_no_success(tmp_path: Path):
    stored = a_forged_mirror(tmp_path)

    with pytest.raises(SegmentDamagedError, match="another digest"):
        salvaged(stored)


def test_planted_without_the_digests_a_wrong_block_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The broken variant of V8: what the test above refuses is handed out as content."""

    class Trusting(SegmentWriter):
        def finish(self) -> bytes:
            super().finish()
            return stored.digests[0]

    stored = a_forged_mirror(tmp_path)
    monkeypatch.setattr(salvage, "SegmentWriter", Trusting)

    assert salvaged(stored) != content_of(stored.layout)

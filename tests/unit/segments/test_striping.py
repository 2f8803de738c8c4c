"""Content to segments and back, with any data_count of them (V6)."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import ConfigError
from coordinator.segments import codec
from coordinator.segments.codec import codec_of
from coordinator.segments.faults import (
    CheckpointLostError,
    SegmentDamagedError,
    SourceChangedError,
)
from coordinator.segments.file import SegmentWriter
from coordinator.segments.layout import Layout
from coordinator.segments.striping import spread
from tests.support.segment_files import header_of, store

#: Those by default, and one that a user may set.
WIDTHS = [(1, 0), (1, 1), (1, 2), (2, 1), (4, 2), (3, 3)]
needs_code = pytest.mark.skipif(not codec.has_erasure_code(), reason="pyeclib is not installed")


def layout_of(data: int, parity: int, length: int) -> Layout:
    return Layout(data_count=data, parity_count=parity, length=length, block_bytes=256)


@needs_code
@settings(max_examples=25)
@given(st.sampled_from(WIDTHS), st.binary(max_size=4_000), st.data())
def test_any_so_many_segments_restore_the_content(
    width: tuple[int, int], content: bytes, data: st.DataObject
):
    layout = layout_of(*width, len(content))
    places = data.draw(st.permutations(range(layout.segment_count)))[: layout.data_count]
    with TemporaryDirectory() as folder:
        stored = store(Path(folder), layout, content)

        assert stored.content(*places) == content


@needs_code
def test_every_choice_of_lost_segments_is_restored_bit_by_bit(tmp_path: Path):
    content = bytes(range(256)) * 9
    stored = store(tmp_path, layout_of(4, 2, len(content)), content)
    files = [list(stored.open(place, 0)) for place in range(6)]

    for lost in itertools.combinations(range(6), 2):
        kept = [place for place in range(6) if place not in lost]
        made = list(stored.gathering(*kept).blocks_of(lost))

        assert [[blocks[place] for blocks in made] for place in lost] == [
            files[place] for place in lost
        ]


@needs_code
def test_damage_in_the_middle_lets_another_segment_step_in(tmp_path: Path):
    content = bytes(range(256)) * 40
    stored = store(tmp_path, layout_of(4, 2, len(content)), content)
    for place in (0, 3):
        path = stored.path(place)
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)

    gathering = stored.gathering()

    assert b"".join(gathering.content()) == content
    assert set(gathering.faults) == {0, 3}


@needs_code
def test_one_too_few_is_lost_with_numbers_and_reasons(tmp_path: Path):
    content = b"x" * 5_000
    stored = store(tmp_path, layout_of(4, 2, len(content)), content)
    for place in (0, 2, 5):
        stored.path(place).unlink()

    with pytest.raises(CheckpointLostError, match="3 of 6 segments can be read, and 4 are needed"):
        stored.content()


def test_a_digest_that_does_not_match_is_no_success(tmp_path: Path):
    content = b"x" * 600
    stored = store(tmp_path, layout_of(1, 1, len(content)), content)
    path = stored.path(0)
    damaged = bytearray(path.read_bytes())
    damaged[-10] ^= 1
    path.write_bytes(damaged)

    with pytest.raises(SegmentDamagedError):
        stored.content(0, 1)
    assert stored.content(1) == content


@pytest.mark.parametrize("source", [b"x" * 599, b"x" * 601])
def test_a_source_of_another_length_makes_no_segments(source: bytes):
    layout = layout_of(1, 1, 600)
    writers = [SegmentWriter(header_of(layout, place), lambda _: None) for place in (0, 1)]

    with pytest.raises(SourceChangedError):
        spread(io.BytesIO(source), layout, codec_of(layout), writers)


def test_mirrors_need_no_library(monkeypatch: pytest.MonkeyPatch):
    def absent(*_: object) -> None:
        raise ConfigError("pip install 'coord[checkpoints]'")

    monkeypatch.setattr(codec, "_driver", absent)

    assert codec_of(layout_of(1, 2, 9)).encode(b"abc", 3) == [b"abc"] * 3
    with pytest.raises(ConfigError, match=r"coord\[checkpoints\]"):
        codec_of(layout_of(2, 1, 9))

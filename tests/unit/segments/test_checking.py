"""A check finds every kind of damage on the disk, and none where there is none."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.segments.checking import DAMAGED, INTACT, MISSING, SAMPLE_BLOCKS, check
from coordinator.segments.faults import DiskError
from coordinator.segments.file import file_bytes
from coordinator.segments.layout import Layout
from tests.support.segment_files import Stored, store

LAYOUT = Layout(data_count=1, parity_count=1, length=20 * 256 + 7, block_bytes=256)
Corruption = Callable[[Stored, Path], object]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def swap(stored: Stored, path: Path) -> None:
    other = stored.disks[0].path_of(stored.headers[0].segment).read_bytes()
    assert path.read_bytes() != other
    path.write_bytes(other)


#: On the second segment's file.
CORRUPTIONS: dict[str, tuple[Corruption, str, str]] = {
    "a flip in the header": (lambda _, path: flip(path, 20), DAMAGED, "header"),
    "a flip in the first block": (lambda _, path: flip(path, 1024), DAMAGED, "block 0"),
    "a flip in the last block": (lambda _, path: flip(path, -50), DAMAGED, "block 20"),
    "a flip in a checksum": (lambda _, path: flip(path, 1024 + 256), DAMAGED, "block 0"),
    "a flip in the end": (lambda _, path: flip(path, -20), DAMAGED, "end"),
    "cut by one": (lambda _, path: path.write_bytes(path.read_bytes()[:-1]), DAMAGED, ""),
    "cut in half": (lambda _, path: path.write_bytes(path.read_bytes()[:3000]), DAMAGED, ""),
    "cut in the header": (lambda _, path: path.write_bytes(path.read_bytes()[:9]), DAMAGED, ""),
    "emptied": (lambda _, path: path.write_bytes(b""), DAMAGED, ""),
    "longer": (lambda _, path: path.write_bytes(path.read_bytes() + b"x"), DAMAGED, ""),
    "zeros": (lambda _, path: path.write_bytes(bytes(path.stat().st_size)), DAMAGED, "header"),
    "another segment's file": (swap, DAMAGED, "of segment"),
    "removed": (lambda _, path: path.unlink(), MISSING, "no file"),
    "a directory in its place": (
        lambda _, path: (path.unlink(), path.mkdir()),
        DAMAGED,
        "",
    ),
}


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return store(tmp_path, LAYOUT, random.Random(1).randbytes(LAYOUT.length))


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_kind_of_corruption_is_found(stored: Stored, kind: str, sample: bool):
    corrupt, verdict, word = CORRUPTIONS[kind]
    corrupt(stored, stored.path(1))

    # A sample has the first and the last block.
    found = check(stored.disks[1], stored.headers[1].segment, stored.digests[1], sample=sample)

    assert found.verdict == verdict
    assert word in (found.detail or "")


@pytest.mark.parametrize("sample", [False, True])
def test_what_is_whole_is_intact(stored: Stored, sample: bool):
    found = check(stored.disks[1], stored.headers[1].segment, stored.digests[1], sample=sample)

    assert (found.verdict, found.detail) == (INTACT, None)
    assert found.whole is not sample
    assert found.block_count == 21
    assert found.blocks_checked == (SAMPLE_BLOCKS if sample else 21)
    assert found.stored_digest == stored.digests[1]
    assert found.header == stored.headers[1]


def test_an_older_file_of_the_same_segment_is_told_by_the_catalogues_digest(stored: Stored):
    found = check(stored.disks[1], stored.headers[1].segment, b"\0" * 32)

    assert found.verdict == DAMAGED
    assert "catalogue" in (found.detail or "")


def test_a_disk_that_is_not_there_says_nothing_about_its_files(stored: Stored):
    shutil.rmtree(stored.disks[1].root)

    with pytest.raises(DiskError):
        check(stored.disks[1], stored.headers[1].segment, stored.digests[1])


def test_a_check_tells_how_much_it_has_read(stored: Stored):
    read: list[int] = []

    check(stored.disks[1], stored.headers[1].segment, None, moved=read.append)

    assert sum(read) == LAYOUT.length
    assert stored.path(1).stat().st_size == file_bytes(LAYOUT)

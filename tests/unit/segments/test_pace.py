"""A check leaves the disk to others for as long as it has read it, whatever the disk's speed."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coordinator.segments.checking import INTACT, check
from coordinator.segments.devices.pace import Pace, Paced, rest_s
from coordinator.segments.layout import Layout
from tests.support.segment_files import store


@dataclass
class SlowDisk:
    """Bytes, each read of which takes the same time; the clock goes on by reads and rests alone."""

    takes_s: float
    content: io.BytesIO
    now_s: float = 100.0
    rests: list[float] = field(default_factory=list)

    def read(self, size: int, /) -> bytes:
        self.now_s += self.takes_s
        return self.content.read(size)

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now_s += seconds


def test_a_reader_that_does_nothing_else_rests_as_long_as_it_reads():
    disk = SlowDisk(0.25, io.BytesIO(bytes(8)))
    paced = Paced(disk, Pace(lambda: disk.now_s, disk.rest))

    while paced.read(1):
        pass

    assert disk.rests == pytest.approx([0.25] * 9)


def test_a_reader_that_is_busy_with_other_things_for_as_long_never_rests():
    disk = SlowDisk(0.25, io.BytesIO(bytes(8)))
    paced = Paced(disk, Pace(lambda: disk.now_s, disk.rest))

    disk.now_s += 0.25
    while paced.read(1):
        disk.now_s += 0.25

    assert disk.rests == []


@pytest.mark.parametrize(
    ("reading_s", "passed_s", "expected"),
    [(1.0, 1.0, 1.0), (1.0, 2.0, 0.0), (1.0, 3.0, 0.0), (0.004, 0.004, 0.0), (0.25, 0.25, 0.25)],
)
def test_a_rest_makes_reading_half_of_the_time(reading_s: float, passed_s: float, expected: float):
    assert rest_s(reading_s=reading_s, passed_s=passed_s) == expected


@pytest.mark.parametrize("sample", [False, True])
def test_a_check_reads_its_blocks_at_the_pace(tmp_path: Path, *, sample: bool):
    layout = Layout(data_count=1, parity_count=1, length=20 * 256, block_bytes=256)
    stored = store(tmp_path, layout, random.Random(1).randbytes(layout.length))
    asked = iter(range(10_000))
    rests: list[float] = []
    # A second passes in each read, and none between two of them.
    pace = Pace(lambda: float(next(asked) // 2), rests.append)

    found = check(
        stored.disks[0], stored.headers[0].segment, stored.digests[0], sample=sample, pace=pace
    )

    assert found.verdict == INTACT
    assert len(rests) >= found.blocks_checked

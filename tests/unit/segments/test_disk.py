"""A directory as a device: whole files or none, and a clear state when it is not there."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from coordinator.segments.devices import disk as disk_module
from coordinator.segments.devices.disk import Disk
from coordinator.segments.devices.marker import make_device, marker_of
from coordinator.segments.faults import DiskError, SegmentAbsentError
from tests.support.segment_files import disk_in

SEGMENT = str(uuid.UUID(int=1))


def kept(disk: Disk, segment: str, content: bytes) -> None:
    with disk.writing(segment) as writing:
        writing.write(content)
        writing.keep()


def test_a_file_that_is_not_kept_leaves_nothing(tmp_path: Path):
    disk = disk_in(tmp_path)

    with disk.writing(SEGMENT) as writing:
        writing.write(b"half")

    assert list(disk.segments()) == []
    assert disk.temporaries() == []


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path: Path):
    disk = disk_in(tmp_path)

    with disk.writing(SEGMENT) as writing:
        writing.write(b"all")
        before = list(disk.segments())
        writing.keep()

    assert before == []
    assert list(disk.segments()) == [SEGMENT]
    with disk.reading(SEGMENT, 1) as reading:
        assert reading.read(9) == b"ll"


def test_a_directory_keeps_its_id(tmp_path: Path):
    assert make_device(tmp_path) == make_device(tmp_path) == marker_of(tmp_path)


def test_a_mount_that_is_gone_is_offline_and_takes_no_file(tmp_path: Path):
    """Below a mount point lies an empty directory, of the disk beneath."""
    disk = disk_in(tmp_path / "mount")
    kept(disk, SEGMENT, b"x")
    (tmp_path / "mount").rename(tmp_path / "gone")
    (tmp_path / "mount").mkdir()

    assert disk.state().state == "offline"
    with pytest.raises(DiskError, match="marker is gone"), disk.writing(SEGMENT):
        pass
    with pytest.raises(DiskError, match="marker is gone"), disk.reading(SEGMENT):
        pass
    assert list((tmp_path / "mount").iterdir()) == []


def test_another_disk_at_the_place_is_not_taken_for_it(tmp_path: Path):
    disk = disk_in(tmp_path)
    (tmp_path / "coord-device").write_text(str(uuid.uuid4()))

    assert disk.state().state == "offline"
    with pytest.raises(DiskError, match="another device"), disk.writing(SEGMENT):
        pass


def test_a_missing_file_is_no_missing_disk(tmp_path: Path):
    disk = disk_in(tmp_path)

    with pytest.raises(SegmentAbsentError), disk.reading(SEGMENT):
        pass
    assert disk.state().state == "online"


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a\0b", "", "{}", SEGMENT.upper() + "/..", SEGMENT + "\n"],
)
def test_no_name_leads_out_of_the_device(tmp_path: Path, name: str):
    disk = disk_in(tmp_path)

    with pytest.raises(ValueError):
        disk.path_of(name)


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path):
    disk = disk_in(tmp_path / "disk")
    (tmp_path / "secret").write_text("secret")
    path = disk.path_of(SEGMENT)
    path.parent.mkdir()
    path.symlink_to(tmp_path / "secret")

    with pytest.raises(disk_module.SegmentDamagedError), disk.reading(SEGMENT):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_and_keeps_nothing(tmp_path: Path):
    disk = disk_in(tmp_path)
    with disk.writing(SEGMENT) as writing:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writing._file)
        os.close(full)
        with pytest.raises(DiskError) as told:
            writing.write(b"x" * 9_000)

    assert told.value.state == "full"
    assert list(disk.segments()) == []
    assert disk.temporaries() == []

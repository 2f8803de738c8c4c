"""Deletion of files of segments under the lock of their disk (V5, V9), and what it never delays."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import ExitStack

import pytest

from coordinator.app.checkpoints.operations.site import leaving
from coordinator.app.checkpoints.serving import SILENT_S
from coordinator.app.checkpoints.tidying import tidy
from coordinator.segments.codec import has_erasure_code
from coordinator.segments.devices import lock
from coordinator.segments.devices.disk import Disk
from tests.support.bounds import within
from tests.support.nodes.disk_nodes import DiskNodes, disk_nodes

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not has_erasure_code(), reason="pyeclib is not installed"),
]


def noted(group: DiskNodes, *, subtask: str | None = None) -> tuple[Disk, str]:
    """Note a file as due, or as written by a subtask; return its disk and its segment."""
    ((device, disk),) = group.disks().items()
    segment = str(uuid.uuid4())
    group.database.query(
        "INSERT INTO segment_leaving (segment, device, group_id, leaves_at, subtask, subtask_term)"
        " VALUES (%s, %s, 'orders', now() + CASE WHEN %s::uuid IS NULL THEN interval '-1 s'"
        " ELSE interval '1 day' END, %s, 1)",
        *(segment, device, subtask, subtask),
    )
    return disk, segment


def test_a_deletion_that_is_late_does_not_meet_the_file_that_came_back(database, tmp_path):
    """V9: the sweeper saw the note, stood still, and a rebalance brought the segment back."""
    with disk_nodes(database, tmp_path, 1) as group, group.catalogue() as catalogue:
        disk, segment = noted(group)
        with disk.writing(segment) as writing:
            writing.write(b"x")

            class Late:
                """The catalogue, as a sweeper reads it that stands still after its first look."""

                def __init__(self) -> None:
                    self.looks = 0

                def read(self, statement, **values):
                    rows = catalogue.read(statement, **values)
                    self.looks += 1
                    if self.looks == 1:
                        assert [row["segment"] for row in rows] == [segment]
                        note, given = leaving(segment, disk.device, 60.0)
                        catalogue.change(note, **given)
                        writing.keep()
                    return rows

                def change(self, statement, **values):
                    return catalogue.change(statement, **values)

            tidy(Late(), disk)

        assert disk.path_of(segment).read_bytes() == b"x"


def test_what_a_killed_rebuild_left_goes_at_once(database, tmp_path):
    """V9: its claim is over; the temporary file of a process that lives stays."""
    with disk_nodes(database, tmp_path, 1) as group, group.catalogue() as catalogue:
        disk, segment = noted(group, subtask=str(uuid.uuid4()))
        disk.path_of(segment).parent.mkdir(parents=True, exist_ok=True)
        disk.path_of(segment).write_bytes(b"x")
        nobodys = disk.root / "temporary" / f"{segment}.of-a-killed-one"
        nobodys.write_bytes(b"x")
        with disk.writing(str(uuid.uuid4())) as writing:
            tidy(catalogue, disk)

            assert not disk.path_of(segment).exists()
            assert not nobodys.exists()
            writing.write(b"y")
            writing.keep()
        assert len(list(disk.segments())) == 1


def test_files_that_are_due_do_not_wait_for_notes_that_must_stay(database, tmp_path):
    """V5: the notes of files that are gone stay for long, and there may be any number of them."""
    with disk_nodes(database, tmp_path, 1) as group, group.catalogue() as catalogue:
        disk, segment = noted(group)
        database.query(
            "INSERT INTO segment_leaving (segment, device, group_id, leaves_at)"
            " SELECT gen_random_uuid(), %s, 'orders', now() - interval '9 min'"
            " FROM generate_series(1, 1000)",
            disk.device,
        )
        disk.path_of(segment).parent.mkdir(parents=True, exist_ok=True)
        disk.path_of(segment).write_bytes(b"x")

        tidy(catalogue, disk)

        assert not disk.path_of(segment).exists()


def test_no_child_of_a_process_keeps_the_lock_of_a_disk(tmp_path):
    """V9: one that was forked while a file got its name, by another thread."""
    marker = tmp_path / "coord-device"
    marker.touch()
    alive, done = os.pipe()
    with lock.naming(marker):
        child = os.fork()
        if child == 0:
            os.close(done)
            os.read(alive, 1)
            os._exit(0)
    try:
        with lock.deleting(marker, 0.1):
            pass
    finally:
        os.close(done)
        os.close(alive)
        os.waitpid(child, 0)


def test_a_disk_whose_lock_is_kept_delays_no_report(database, tmp_path):
    """V10: a process stands still while its file gets a name; the disks are there all the same."""
    with disk_nodes(database, tmp_path, 1, disks=2) as group, ExitStack() as kept:
        for device, disk in group.disks().items():
            database.query(
                "INSERT INTO segment_leaving (segment, device, group_id, leaves_at)"
                " VALUES (gen_random_uuid(), %s, 'orders', now() - interval '1 s')",
                device,
            )
            kept.enter_context(lock.naming(disk.root / "coord-device"))
        own_disks, began_s = group.nodes["n1"].own_disks, time.monotonic()
        own_disks.tidy_s = 0.4

        with group.catalogue() as catalogue:
            told = own_disks.look(catalogue)

        assert [word.startswith("online; not tidied up") for _, word in told] == [True, True]
        within(time.monotonic() - began_s, SILENT_S / 2)

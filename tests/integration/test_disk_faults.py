"""Faults of single files, segments and disks of which operations and reports get the best (V6)."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.app.checkpoints.operations.check_disk import CheckDisk
from coordinator.app.checkpoints.operations.rebuild import Rebuild
from coordinator.app.checkpoints.restoring import Reader
from coordinator.app.checkpoints.serving import OwnDisks
from coordinator.protocol.operations.types import SubtaskState
from coordinator.segments.codec import has_erasure_code
from tests.integration.test_checkpoint_operations import run_all, verdicts
from tests.support.nodes.disk_nodes import DiskNodes, disk_nodes
from tests.support.nodes.processes import eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not has_erasure_code(), reason="pyeclib is not installed"),
]

CONTENT = bytes(range(256)) * 1_200


def test_a_file_that_the_catalogue_calls_damaged_helps_the_one_that_is_gone(database, tmp_path):
    """A rebuild that was killed leaves REBUILDING behind, whatever the file is like."""
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        group.path(1, 0).unlink()
        database.query(
            "UPDATE segment SET state = CASE place WHEN 0 THEN 'MISSING' ELSE 'DAMAGED' END"
        )

        (end,) = run_all(group, Rebuild()).values()

        assert end.result == {"adopted": 1, "rebuilt": 1}
        assert group.statuses() == [(1, "INTACT")]


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("put_there", [a_pipe, a_folder, a_link])
def test_something_else_in_the_place_of_a_file_is_found_and_replaced(database, tmp_path, put_there):
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        path = group.path(1, 0)
        put_there(path)

        ends = run_all(group, CheckDisk(), options={"fix": True})

        assert {end.state for end in ends.values()} == {SubtaskState.DONE}
        assert dict(verdicts(group).keys())[path.name] == "DAMAGED"
        (end,) = run_all(group, Rebuild()).values()
        assert end.state is SubtaskState.DONE, end
        assert group.statuses() == [(1, "INTACT")]


def test_an_id_in_capital_letters_names_its_segment(database, tmp_path):
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        ((segment,),) = database.query("SELECT id::text FROM segment WHERE place = 0")

        run_all(group, CheckDisk(), options={"storage_ids": [segment.upper()]})

        assert verdicts(group) == {(segment, "INTACT"): 1}


def test_samples_of_two_operations_are_not_the_same_blocks(database, tmp_path):
    """Damage in any block is found by one of the nightly samples, not by none for ever."""
    with disk_nodes(database, tmp_path, 1) as group:
        group.put(group.hold("n1"), bytes(65_536 * 40))
        path = group.path(1, 0)
        found = []
        for _ in range(40):
            if not found:
                with path.open("r+b") as file:
                    file.seek(1_024 + 65_540 * 20 + 9)
                    file.write(b"\1")
            run_all(group, CheckDisk(), options={"sample": True})
            found += [word for name, word in verdicts(group) if name == path.name]
            if found[-1] == "DAMAGED":
                return
        pytest.fail(f"never found: {found}")


def in_the_way(group: DiskNodes) -> None:
    """Put a folder where a file of the first disk is to be deleted."""
    device, disk = min(group.disks().items(), key=lambda pair: str(pair[1].root))
    group.database.query(
        "INSERT INTO segment_leaving (segment, device, group_id, leaves_at)"
        " VALUES (gen_random_uuid(), %s, 'orders', now() - interval '1 s')",
        device,
    )
    ((segment,),) = group.database.query("SELECT segment::text FROM segment_leaving")
    (disk.path_of(segment) / "content").mkdir(parents=True)


def test_a_disk_that_cannot_be_tidied_up_keeps_no_other_from_its_report(database, tmp_path):
    with disk_nodes(database, tmp_path, 1, disks=2) as group:
        in_the_way(group)
        shutil.rmtree(tmp_path / "n1/disk1")

        group.look()

        states = database.query("SELECT right(url, 5), state FROM sys_storage_devices ORDER BY 1")
        assert states == [("disk0", "online"), ("disk1", "offline")]


def test_a_disk_that_hangs_is_offline_and_keeps_no_other_from_its_report(database, tmp_path):
    """An open of the marker waits for a writer, as an access waits for a disk that has stopped."""
    states = "SELECT right(url, 5), state FROM sys_storage_devices ORDER BY 1"
    with disk_nodes(database, tmp_path, 1, disks=2) as group:
        group.nodes["n1"].own_disks.answer_s = 0.2
        marker = tmp_path / "n1/disk0/coord-device"
        marker.rename(tmp_path / "kept")
        os.mkfifo(marker)
        shutil.rmtree(tmp_path / "n1/disk1")

        group.look()
        group.look()

        assert database.query(states) == [("disk0", "offline"), ("disk1", "offline")]
        told = "SELECT error FROM storage_device WHERE url LIKE '%disk0'"
        assert "does not answer" in str(database.query(told))
        with marker.open("w") as writer:
            writer.write((tmp_path / "kept").read_text())
        (tmp_path / "kept").rename(marker)
        eventually(
            lambda: group.look() or database.query(states)[0] == ("disk0", "online"), 20, "online"
        )


def test_a_directory_that_two_nodes_have_is_the_first_ones(database, tmp_path):
    """One that is silent, or offline, gives it up: a disk may move to another machine."""
    devices = "SELECT node, state FROM sys_storage_devices WHERE url LIKE '%/shared'"
    (tmp_path / "shared").mkdir()
    with disk_nodes(database, tmp_path, 2) as group, group.catalogue() as catalogue:
        first, second = (sharing(group, name, tmp_path / "shared") for name in ("n1", "n2"))
        first.look(catalogue)

        ((_, told),) = second.look(catalogue)

        assert "it is in use" in told
        assert second.disks == {}
        assert database.query(devices) == [("n1", "online")]
        database.query("UPDATE storage_device SET reported_at = now() - interval '31 s'")
        assert second.look(catalogue)[0][1] == "online"
        assert database.query(devices) == [("n2", "online")]


def sharing(group: DiskNodes, name: str, folder: Path) -> OwnDisks:
    settings = group.nodes[name].settings
    disks = (f"file://{folder}",)
    return OwnDisks(replace(settings, checkpoints=replace(settings.checkpoints, disks=disks)))


def test_two_halves_of_a_mirror_damaged_in_different_blocks_are_restored_and_rebuilt(
    database, tmp_path
):
    """V8: no segment is whole, and each block is in one of them."""
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        for place, at in ((0, 5_000), (1, 200_000)):
            with group.path(1, place).open("r+b") as file:
                file.seek(at)
                file.write(b"\xee" * 9)

        assert whole(group) == (0, True)
        assert group.read() == CONTENT
        run_all(group, CheckDisk(), options={"fix": True})
        assert shown_of(database) == ("DAMAGED", False, 0, 2, 0)
        (end,) = run_all(group, Rebuild()).values()
        assert end.state is SubtaskState.DONE, end
        assert group.statuses() == [(1, "INTACT")]
        assert whole(group) == (2, False)
        assert group.read() == CONTENT


def test_a_checkpoint_is_lost_when_too_few_segments_have_any_block(database, tmp_path):
    """V8: as long as so many have blocks, the catalogue does not give it up."""
    with disk_nodes(database, tmp_path, 2) as group:
        group.put(group.hold("n1"), CONTENT)
        first, second = group.path(1, 0), group.path(1, 1)
        first.write_bytes(first.read_bytes()[:-1])
        second.unlink()
        run_all(group, CheckDisk(), options={"fix": True})

        assert shown_of(database) == ("DAMAGED", False, 0, 1, 1)
        first.unlink()
        run_all(group, CheckDisk(), options={"fix": True})

        assert shown_of(database) == ("LOST", False, 0, 0, 2)


def shown_of(database) -> tuple[object, ...]:
    (row,) = database.query(
        "SELECT status, readable, intact, damaged, missing FROM sys_segment_groups"
    )
    return row


def whole(group: DiskNodes) -> tuple[int, bool]:
    """Return how many segments are intact, and whether it takes their single blocks."""
    with group.catalogue() as catalogue:
        reader = Reader(catalogue, "nobody", group.term)
        verified = reader.verify(reader.chosen("orders"))
    assert verified.readable
    return verified.intact, verified.salvageable


def test_a_disk_of_which_nothing_is_said_any_more_is_offline(database, tmp_path):
    """V10: the process that serves it stands still, and its node lives."""
    shown = "SELECT state, error FROM sys_storage_devices"
    with disk_nodes(database, tmp_path, 1) as group:
        group.put(group.hold("n1"), CONTENT)
        assert database.query(shown) == [("online", None)]

        database.query("UPDATE storage_device SET silent_ms = 0")

        ((state, error),) = database.query(shown)
        assert (state, "has said nothing for" in error) == ("offline", True)
        assert database.query("SELECT DISTINCT status, recorded_status FROM sys_segments") == [
            ("MISSING", "INTACT")
        ]
        assert group.statuses() == [(1, "LOST")]
        group.look()
        assert database.query(shown) == [("online", None)]
        assert group.statuses() == [(1, "DEGRADED_PLACEMENT")]

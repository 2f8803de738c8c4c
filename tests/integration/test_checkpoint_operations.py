"""check_disk, rebuild and rebalance on nodes with real disks and servers (V4, V5, V6)."""

from __future__ import annotations

import hashlib
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.app.checkpoints.operations.check_disk import CheckDisk
from coordinator.app.checkpoints.operations.rebalance import Rebalance
from coordinator.app.checkpoints.operations.rebuild import Rebuild
from coordinator.errors import TokenLostError
from coordinator.protocol.operations.types import Location, PlannedSubtask, SubtaskEnd, SubtaskState
from coordinator.segments.codec import has_erasure_code
from coordinator.segments.placing import ratio
from tests.support.nodes.disk_nodes import DiskNodes, disk_nodes
from tests.support.operations.claimed import Claimed

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not has_erasure_code(), reason="pyeclib is not installed"),
]


def flip(at: float) -> Callable[[Path], object]:
    def corrupt(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[min(len(content) - 1, int(len(content) * at))] ^= 0x20
        path.write_bytes(content)

    return corrupt


#: Kinds of corruption, each with its verdict.
KINDS: tuple[tuple[Callable[[Path], object], str], ...] = (
    (flip(0.0), "DAMAGED"),
    (flip(0.5), "DAMAGED"),
    (flip(1.0), "DAMAGED"),
    (lambda path: path.write_bytes(path.read_bytes()[:-7]), "DAMAGED"),
    (lambda path: path.write_bytes(b""), "DAMAGED"),
    (lambda path: path.unlink(), "MISSING"),
)


def claim(group: DiskNodes, node: str, **facts: object) -> Claimed:
    return Claimed(group.database, node, group.nodes[node].settings, **facts)


def run_all(
    group: DiskNodes, kind: object, node: str = "n1", **facts: object
) -> dict[str, SubtaskEnd]:
    """Plan an operation, and run its subtasks, each where it may."""
    planning = claim(group, node, **facts)
    ends = {}
    for planned in kind.plan(planning).subtasks:
        ends[planned.entity] = kind.run(working(group, planned, node, planning))
    return ends


def working(group: DiskNodes, planned: PlannedSubtask, node: str, planning: Claimed) -> Claimed:
    return claim(
        group,
        planned.node or node,
        operation=planning.operation,
        options=planning.options,
        entity=planned.entity,
        argument=planned.argument,
        term=planning.term,
        lost_after=planning.lost_after,
    )


def verdicts(group: DiskNodes) -> Counter[tuple[str, str]]:
    return Counter(
        group.database.query(
            "SELECT storage_id::text, verdict FROM sys_check_disk_results"
            " WHERE task_id = (SELECT task_id FROM sys_check_disk_results ORDER BY id DESC LIMIT 1)"
        )
    )


def recorded(group: DiskNodes) -> Counter[str]:
    return Counter(state for (state,) in group.database.query("SELECT state FROM segment"))


def the_whole_story(group: DiskNodes, count: int, corruptions: int, size: int) -> None:
    """Corrupt, check, lose a node and a disk, rebuild in two halves, compare every byte."""
    chance = random.Random(count)
    holding = group.hold("n1")
    contents: dict[int, bytes] = {}  #: the digest of each: they are many
    for _ in range(count):
        content = chance.randbytes(chance.randrange(size // 10, size))
        contents[group.put(holding, content).sequence] = hashlib.sha256(content).digest()
    assert set(group.statuses()) == {(sequence, "INTACT") for sequence in contents}

    # Corruptions of every kind, at most two of one checkpoint.
    places = [(sequence, place) for sequence in contents for place in chance.sample(range(6), 2)]
    hurt = {}
    for number, (sequence, place) in enumerate(chance.sample(places, corruptions)):
        corrupt, verdict = KINDS[number % len(KINDS)]
        path = group.path(sequence, place)
        corrupt(path)
        hurt[path.name] = verdict
    run_all(group, CheckDisk())
    found = verdicts(group)
    assert {name: word for name, word in found if word != "INTACT"} == hurt
    assert len(found) == 6 * count
    assert recorded(group) == {"INTACT": 6 * count}  # without fix nothing changes
    run_all(group, CheckDisk(), options={"fix": True})
    assert recorded(group)["DAMAGED"] == sum(word == "DAMAGED" for word in hurt.values())
    assert recorded(group)["MISSING"] == sum(word == "MISSING" for word in hurt.values())
    ends = run_all(group, Rebuild())
    assert {end.state for end in ends.values()} == {SubtaskState.DONE}
    assert set(group.statuses()) == {(sequence, "INTACT") for sequence in contents}

    # A node with its disk, and a disk of a node that lives.
    group.kill("n7", with_disks=True)
    shutil.rmtree(group.folder / "n6/disk0")
    group.look()
    assert all_equal(group, contents)
    group.add("n8")
    group.add("n9")
    planning = claim(group, "n2")
    planned = Rebuild().plan(planning).subtasks
    for each in planned[: len(planned) // 2]:
        Rebuild().run(working(group, each, "n2", planning))
    half = working(group, planned[len(planned) // 2], "n2", planning)
    half.lost_after = 1  # between the claim of a segment and its end: as after kill -9
    with pytest.raises(TokenLostError):
        Rebuild().run(half)
    assert recorded(group)["REBUILDING"] == 1
    ends = run_all(group, Rebuild(), node="n3", term=2)
    assert {end.state for end in ends.values()} <= {SubtaskState.DONE, SubtaskState.SKIPPED}

    assert set(group.statuses()) == {(sequence, "INTACT") for sequence in contents}
    assert all_equal(group, contents)
    run_all(group, CheckDisk())
    assert {word for _, word in verdicts(group)} == {"INTACT"}


def all_equal(group: DiskNodes, digests: dict[int, bytes]) -> bool:
    return all(
        hashlib.sha256(group.read(sequence)).digest() == digest
        for sequence, digest in digests.items()
    )


def test_corruptions_are_found_and_what_was_lost_is_made_again(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 7, keep=1_000) as group:
        the_whole_story(group, count=6, corruptions=6, size=300_000)


@pytest.mark.long
@pytest.mark.timeout(3_000)
def test_the_same_with_200_checkpoints_of_up_to_20_mb(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 7, keep=1_000) as group:
        the_whole_story(group, count=200, corruptions=30, size=20_000_000)


def test_beyond_parity_is_lost_with_numbers_and_the_rest_goes_on(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 7) as group:
        holding = group.hold("n1")
        for number in (1, 2):
            group.put(holding, bytes([number]) * 300_000)
        for place in (0, 2, 5):
            group.path(1, place).unlink()
        group.path(2, 1).unlink()
        run_all(group, CheckDisk(), options={"fix": True})

        ends = run_all(group, Rebuild())

        assert sorted(end.state for end in ends.values()) == [
            SubtaskState.DONE,
            SubtaskState.LOST,
        ]
        (lost,) = [end for end in ends.values() if end.state is SubtaskState.LOST]
        assert "3 of 6 segments can be read, and 4 are needed" in lost.reason
        assert group.statuses() == [(1, "LOST"), (2, "INTACT")]
        assert recorded(group) == {"INTACT": 9, "MISSING": 3}  # given back as it was


def test_a_file_that_is_there_is_taken_and_not_made_again(database, tmp_path: Path):
    """A disk that comes back; a sample never says that it is whole, a rebuild reads it all."""
    with disk_nodes(database, tmp_path, 7) as group:
        group.put(group.hold("n1"), b"x" * 300_000)
        database.query("UPDATE segment SET state = 'MISSING' WHERE place < 2")
        run_all(group, CheckDisk(), options={"fix": True, "sample": True})
        assert recorded(group)["MISSING"] == 2

        (end,) = run_all(group, Rebuild()).values()

        assert end.result == {"adopted": 2, "rebuilt": 0}
        assert group.statuses() == [(1, "INTACT")]


def test_a_check_of_one_node_and_of_named_segments(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 7) as group:
        group.put(group.hold("n1"), b"x" * 300_000)
        ((node, segment),) = database.query(
            "SELECT node, storage_id::text FROM sys_segments WHERE place = 3"
        )

        ends = run_all(
            group,
            CheckDisk(),
            location=Location.NODE,
            location_name=node,
            options={"storage_ids": [segment]},
        )

        assert list(ends) == [node]
        assert verdicts(group) == {(segment, "INTACT"): 1}


def test_new_nodes_are_filled_while_readers_read(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 3, keep=1_000) as group:
        holding = group.hold("n1")
        contents = {
            group.put(holding, content).sequence: content
            for content in (bytes([number]) * 100_000 for number in range(12))
        }
        group.add("n4")
        wrong: list[object] = []
        stop = threading.Event()

        def read_on() -> None:
            while not stop.is_set():
                for sequence, content in contents.items():
                    try:
                        if group.read(sequence) != content:
                            wrong.append(sequence)
                    except Exception as error:  # noqa: BLE001 - any is one too many
                        wrong.append(error)

        reader = threading.Thread(target=read_on)
        reader.start()
        try:
            ends = run_all(group, Rebalance())
            group.look()
        finally:
            stop.set()
            reader.join(60)

        assert wrong == []
        assert {end.state for end in ends.values()} == {SubtaskState.DONE}
        used = dict(
            database.query("SELECT storage_device::text, segment_bytes FROM sys_storage_devices")
        )
        assert ratio({device: int(size) for device, size in used.items()}) <= 1.1
        assert set(
            database.query("SELECT count(DISTINCT node) FROM sys_segments GROUP BY segment_group")
        ) == {(2,)}
        assert run_all(group, Rebalance()) == {}
        # The old files go, and nothing that is needed with them.
        database.query("UPDATE segment_leaving SET leaves_at = now() - interval '1 s'")
        group.look()
        files = [name for disk in group.disks().values() for name in disk.segments()]
        assert len(files) == 24
        assert all(group.read(sequence) == content for sequence, content in contents.items())


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_cancelled_check_ends_after_the_present_segment(database, tmp_path: Path, after: int):
    with disk_nodes(database, tmp_path, 2) as group:
        holding = group.hold("n1")
        for _ in range(4):
            group.put(holding, b"x" * 1_000)
        subtask = claim(group, "n1", stop_after=after)

        end = CheckDisk().run(subtask)

        assert end.state is SubtaskState.PENDING
        assert len(verdicts(group)) == after
        again = claim(group, "n1", operation=subtask.operation, attempt=2)
        assert CheckDisk().run(again).state is SubtaskState.DONE
        assert set(verdicts(group).values()) == {1}  # none is checked twice
        assert len(verdicts(group)) == 4


def test_a_rebuild_of_named_groups_of_one_program_and_of_one_node(database, tmp_path: Path):
    with disk_nodes(database, tmp_path, 7) as group:
        holding = group.hold("n1")
        for number in (1, 2):
            group.put(holding, bytes([number]) * 300_000)
        database.query("UPDATE segment SET state = 'MISSING' WHERE place < 2")
        ((first, node),) = database.query(
            "SELECT segment_group, sys_segments.node FROM sys_segments JOIN sys_segment_groups AS g"
            " USING (segment_group) WHERE g.sequence = 1 AND place = 0"
        )

        def planned(**options: object) -> list[tuple[str, int]]:
            plan = Rebuild().plan(claim(group, "n1", options=options))
            return [(each.entity, each.units) for each in plan.subtasks]

        assert len(planned()) == 2
        assert planned(segment_groups=[first]) == [(str(first), 2)]
        assert planned(segment_groups=[first], node=node) == [(str(first), 1)]
        assert planned(table_id="orders/mail") == []
        assert len(planned(table_id="orders")) == 2

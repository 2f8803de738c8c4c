"""Files alone tell the catalogue again, and nothing that it knows is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.app.checkpoints.rescanning import rescan
from tests.support.nodes.disk_nodes import disk_nodes

pytestmark = pytest.mark.real


def test_a_lost_catalogue_comes_back_from_the_files(database, tmp_path: Path):
    contents = [bytes([number]) * 200_000 for number in range(3)]
    with disk_nodes(database, tmp_path, 3) as group:
        holding = group.hold("n1")
        for content in contents:
            group.put(holding, content)
        shown = "SELECT * FROM sys_segments ORDER BY storage_id"
        kept = (
            "SELECT id::text, segment_group, place, device::text, digest FROM segment ORDER BY id"
        )
        before = database.query(kept)
        flipped = group.path(2, 0)
        flipped.write_bytes(flipped.read_bytes()[:-1])
        database.query("DELETE FROM segment")
        database.query("DELETE FROM segment_group")
        database.query("ALTER TABLE segment_group ALTER id RESTART WITH 1")

        found = []
        with group.catalogue() as catalogue:
            for name, node in group.nodes.items():
                found += rescan(catalogue, name, node.settings.checkpoints.disks)
            again = [
                each
                for name, node in group.nodes.items()
                for each in rescan(catalogue, name, node.settings.checkpoints.disks)
            ]

        assert sum(each.added for each in found) == 5
        assert [each.segment for each in again] == [flipped.name]  # it is not whole
        assert [row for row in before if row[0] != flipped.name] == database.query(kept)
        assert [group.read(sequence) for sequence in (1, 2, 3)] == contents
        assert len(database.query(shown)) == 5
        assert group.put(holding, b"next").sequence == 4
        assert group.read() == b"next"

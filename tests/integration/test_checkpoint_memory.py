"""A checkpoint of 2 GiB needs no more memory than a small one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coordinator.app.checkpoints.making import Maker
from coordinator.app.checkpoints.material import path_content
from coordinator.app.checkpoints.restoring import Reader
from coordinator.segments.codec import has_erasure_code
from tests.support.nodes.disk_nodes import GROUP, disk_nodes

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.timeout(1_500),
    pytest.mark.skipif(not has_erasure_code(), reason="pyeclib is not installed"),
]

SIZE = 2 << 30
MORE_MAX_MIB = 96


def peak_mib() -> int:
    """Return the most memory that this process had since `forget_peak`."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


def forget_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def test_two_gigabytes_are_kept_and_restored_in_flat_memory(database, tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(SIZE)
        file.seek(SIZE // 2)
        file.write(b"in the middle")
    with disk_nodes(database, tmp_path / "nodes", 7) as group, group.catalogue() as catalogue:
        holding = group.hold("n1")
        before = forget_peak()

        made = Maker(catalogue, holding, group.checkpoints).put(path_content(source))
        reader = Reader(catalogue, "nobody", group.term)
        reader.save_to(reader.chosen(GROUP), target)

        assert peak_mib() - before < MORE_MAX_MIB
        assert (made.length, made.data_count) == (SIZE, 4)
    assert target.stat().st_size == SIZE
    with target.open("rb") as file:
        file.seek(SIZE // 2 - 1)
        assert file.read(15) == b"\0in the middle\0"

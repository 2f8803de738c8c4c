"""EIO: of a file it is that file's damage, of the directory it makes the device offline.

The calls fail below Python, in the C library of a process of its own: no device mapper is needed,
which most containers do not have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.segments.layout import Layout
from tests.support import nodes
from tests.support.segment_files import Stored, store

SOURCE = Path(nodes.__file__).with_name("failing_disk.c")
LAYOUT = Layout(data_count=1, parity_count=1, length=3_000, block_bytes=256)
#: Says of a disk whose calls fail: the verdict of a file, its state, and how a write ended.
LOOK = """
import sys, uuid
from pathlib import Path
from coordinator.segments.checking import check
from coordinator.segments.devices.disk import Disk
from coordinator.segments.faults import DiskError
disk = Disk(Path(sys.argv[1]), sys.argv[2])
try:
    finding = check(disk, sys.argv[3], None)
    print(finding.verdict, finding.detail)
except DiskError as error:
    print("DiskError", error)
print(disk.state().state)
try:
    with disk.writing(str(uuid.uuid4())) as writing:
        writing.write(b"x")
        writing.keep()
    print("kept")
except DiskError as error:
    print(error.state, error)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        assert "CI" not in os.environ, "CI has a C compiler"
        pytest.skip("no C compiler: EIO cannot be made")
    made = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return made


def said(shim: Path, stored: Stored, below: Path, calls: str) -> list[str]:
    disk, header = stored.disks[0], stored.headers[0]
    run = subprocess.run(
        [sys.executable, "-c", LOOK, str(disk.root), disk.device, header.segment],
        env=os.environ
        | {"LD_PRELOAD": str(shim), "FAILING_BELOW": str(below), "FAILING_CALLS": calls},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return run.stdout.splitlines()


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return store(tmp_path, LAYOUT, bytes(3_000))


def test_a_disk_that_does_not_fail_is_as_ever(shim: Path, stored: Stored):
    assert said(shim, stored, stored.disks[1].root, "open,pread,write,fsync") == [
        "INTACT None",
        "online",
        "kept",
    ]


def test_a_file_that_cannot_be_read_is_damaged_and_its_disk_goes_on(shim: Path, stored: Stored):
    verdict, state, kept = said(shim, stored, stored.path(0), "pread")

    assert verdict == "DAMAGED it cannot be read: input/output error"
    assert (state, kept) == ("online", "kept")


def test_a_file_that_cannot_be_opened_is_damaged(shim: Path, stored: Stored):
    verdict, state, _ = said(shim, stored, stored.path(0), "open")

    assert verdict.startswith("DAMAGED")
    assert verdict.endswith("input/output error")
    assert state == "online"


def test_a_directory_that_cannot_be_read_is_offline_and_says_nothing_of_its_files(
    shim: Path, stored: Stored
):
    verdict, state, write = said(shim, stored, stored.disks[0].root, "open")

    assert verdict.startswith("DiskError")
    assert state == "offline"
    assert write.startswith("offline")


@pytest.mark.parametrize("calls", ["write", "fsync"])
def test_a_write_that_the_disk_does_not_take_keeps_nothing(shim: Path, stored: Stored, calls: str):
    """An fsync that failed is no success, whatever the page cache has (V1)."""
    before = list(stored.disks[0].segments())

    write = said(shim, stored, stored.disks[0].root, calls)[2]

    assert write.startswith("offline")
    assert write.endswith("input/output error")
    assert list(stored.disks[0].segments()) == before
    assert stored.disks[0].temporaries() == []

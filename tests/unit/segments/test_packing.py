"""Directories as streams: all that has content comes back, and nothing leads out."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.segments.archive.packing import DirectorySource, FileSource
from coordinator.segments.archive.unpacking import unpack_into
from coordinator.segments.faults import SegmentDamagedError, SourceChangedError

NAME = st.binary(min_size=1, max_size=60).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


def packed(root: Path) -> bytes:
    source = DirectorySource(root)
    parts = list(iter(lambda: source.read(777), b""))
    assert len(b"".join(parts)) == source.length
    return b"".join(parts)


def chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


def seen(root: Path) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            key = os.path.relpath(path, os.fsencode(root))
            if os.path.islink(path):
                found[key] = os.readlink(path)
            elif os.path.isdir(path):
                found[key] = os.stat(path).st_mode
            else:
                found[key] = (Path(os.fsdecode(path)).read_bytes(), os.stat(path).st_mode)
    return found


@settings(max_examples=30)
@given(st.dictionaries(NAME, st.binary(max_size=2_000), max_size=6))
def test_files_of_any_name_come_back(files: dict[bytes, bytes]):
    with TemporaryDirectory() as place:
        before, after = Path(place, "before"), Path(place, "after")
        (before / "folder").mkdir(parents=True)
        after.mkdir()
        for name, content in files.items():
            with open(os.path.join(os.fsencode(before / "folder"), name), "wb") as file:
                file.write(content)

        unpack_into(after, chunks(packed(before)))

        assert seen(after) == seen(before)


def test_links_modes_and_empty_folders_come_back_and_sockets_are_named(tmp_path: Path):
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "empty").mkdir(parents=True)
    after.mkdir()
    (before / "script").write_text("#!/bin/sh")
    (before / "script").chmod(0o750)
    (before / "link").symlink_to("script")
    (before / "dangling").symlink_to("/nowhere/at/all")
    expected = seen(before)
    os.mkfifo(before / "pipe")
    folder = os.open(before, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/socket")  # its path may be too long otherwise
    finally:
        os.close(folder)

    source = DirectorySource(before)
    unpack_into(after, iter(lambda: source.read(4096), b""))

    assert source.left_out == ["pipe", "socket"]
    assert seen(after) == expected


def test_a_file_that_grows_or_changes_while_it_is_read_makes_no_checkpoint(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 3_000)
    for change in (b"y", b""):
        source = DirectorySource(tmp_path)
        with path.open("ab") as file:
            file.write(change)
        os.utime(path, ns=(1, 1))

        with pytest.raises(SourceChangedError, match="log: it changed"):
            list(iter(lambda source=source: source.read(4096), b""))


def test_a_single_file_that_changes_is_told(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 30)
    with path.open("rb") as file:
        source = FileSource(file, "log")
        assert source.length == 30
        path.write_bytes(b"y" * 29)

        with pytest.raises(SourceChangedError):
            list(iter(lambda: source.read(4096), b""))


def archive_of(*entries: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return file.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "tricks",
    [
        (entry("../out"),),
        (entry("/out"),),
        (entry("a/../../out"),),
        (entry("device", tarfile.CHRTYPE),),
        (entry("hard", tarfile.LNKTYPE, "/etc/passwd"),),
        (entry("link", tarfile.SYMTYPE, "OUT"), entry("link/out")),
    ],
    ids=["dots", "absolute", "dots inside", "a device", "a hard link", "through a link"],
)
def test_an_archive_with_tricks_writes_nothing_outside(
    tmp_path: Path, tricks: tuple[tarfile.TarInfo, ...]
):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    for trick in tricks:
        trick.linkname = trick.linkname.replace("OUT", str(outside))

    with pytest.raises((SegmentDamagedError, OSError)):
        unpack_into(inside, chunks(archive_of(*tricks)))

    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "outside"]

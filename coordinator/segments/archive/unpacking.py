"""A stream of an archive back into a directory, which nothing in it can leave.

The directory is new and empty. Every name must be relative and have no "..". Links are made last,
when no entry is written any more: so nothing is ever written through a link.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from coordinator.segments.faults import SegmentDamagedError

_CHUNK_BYTES = 1 << 20


class ChunkSource:
    """Makes a stream of chunks a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return up to size bytes; none at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        if size < 0:
            size = len(self._rest)
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)


def unpack_into(root: Path, chunks: Iterator[bytes]) -> None:
    """Make the entries of an archive below a directory, and bring them onto the disk.

    Errors: SegmentDamagedError for an entry that is none of ours; OSError.
    """
    source = ChunkSource(chunks)
    stream: Any = source  # tarfile's types want a file; a stream is only read
    links: list[tuple[Path, str]] = []
    folders: list[tuple[Path, tarfile.TarInfo]] = []
    try:
        with tarfile.open(
            fileobj=stream,
            mode="r|",
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            for info in archive:
                path = root / _checked(info.name)
                if info.isdir():
                    path.mkdir(mode=0o700)
                    folders.append((path, info))
                elif info.issym():
                    links.append((path, info.linkname))
                elif info.isreg():
                    _write(archive, info, path)
                else:
                    raise SegmentDamagedError(f"entry {info.name!r}: neither file nor directory")
    except tarfile.TarError as error:
        raise SegmentDamagedError(f"it is no archive: {error}") from error
    while source.read(_CHUNK_BYTES):
        pass  # the end of the stream has the last checks
    for path, target in links:
        os.symlink(target, path)
    for path, info in reversed(folders):
        path.chmod(info.mode & 0o777)
        os.utime(path, (info.mtime, info.mtime))


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
        raise SegmentDamagedError(f"entry {name!r}: it leads out of the directory")
    return path


def _write(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(info)
    assert content is not None, "a regular file has content"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        while part := content.read(_CHUNK_BYTES):
            file.write(part)
        file.flush()
        os.fchmod(file.fileno(), info.mode & 0o777)
    os.utime(path, (info.mtime, info.mtime))

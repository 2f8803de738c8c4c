"""A directory as one stream of known length, in the form of a tar archive.

The length must be known before the first byte, so the directory is walked first. A file that
changes between the walk and the end of its reading makes the checkpoint fail: half of an old and
half of a new state would be worse than none. Sockets, pipes and devices have no content: they are
left out, and named.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from coordinator.segments.faults import SourceChangedError

#: Of a tar archive.
RECORD_BYTES = 512
_END = bytes(2 * RECORD_BYTES)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive: its header, and for a file its place and what stat said of it."""

    header: bytes
    path: Path | None
    size: int
    seen: tuple[int, int, int]


class DirectorySource:
    """Reads a directory as one stream.

    length: of the whole stream.
    left_out: names that have no content.
    Errors: SourceChangedError when something changes meanwhile; OSError.
    """

    def __init__(self, root: Path) -> None:
        self.left_out: list[str] = []
        self._entries = list(self._walk(root))
        self.length = len(_END) + sum(
            len(entry.header) + _padded(entry.size) for entry in self._entries
        )
        self._parts = self._stream()
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._parts, b""))
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    def _walk(self, root: Path) -> Iterator[Entry]:
        for folder, folders, files in os.walk(root, onerror=_raise):
            folders.sort()
            here = Path(folder)
            for name in sorted((*folders, *files)):
                path = here / name
                told = path.lstat()
                relative = str(path.relative_to(root))
                entry = _entry(path, relative, told)
                if entry is None:
                    self.left_out.append(relative)
                else:
                    yield entry

    def _stream(self) -> Iterator[bytes]:
        for entry in self._entries:
            yield entry.header
            if entry.path is not None:
                yield from _content(entry.path, entry)
                if gap := _padded(entry.size) - entry.size:
                    yield bytes(gap)
        yield _END


class FileSource:
    """Reads one file, whose length is the one it had when it was opened.

    Errors: SourceChangedError when it is written to meanwhile.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._seen = _mark(os.fstat(file.fileno()))
        self.length = self._seen[0]

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes; none at the end."""
        part = self._file.read(size)
        if not part and _mark(os.fstat(self._file.fileno())) != self._seen:
            raise SourceChangedError(f"{self._name}: it changed while it was read")
        return part


def _entry(path: Path, name: str, told: os.stat_result) -> Entry | None:
    """Return the entry of a path; None when it has no content to keep."""
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(told.st_mode)
    info.mtime = int(told.st_mtime)
    size = 0
    if stat.S_ISREG(told.st_mode):
        info.size = size = told.st_size
    elif stat.S_ISDIR(told.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(told.st_mode):
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(path)
    else:
        return None
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return Entry(header, path if info.isreg() else None, size, _mark(told))


def _content(path: Path, entry: Entry) -> Iterator[bytes]:
    # Not blocking: a pipe may have come in the file's place.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        left = entry.size
        while left:
            part = os.read(file, min(left, _CHUNK_BYTES))
            if not part:
                break
            left -= len(part)
            yield part
        if left or _mark(os.fstat(file)) != entry.seen:
            raise SourceChangedError(f"{path}: it changed while it was read")
    finally:
        os.close(file)


def _mark(told: os.stat_result) -> tuple[int, int, int]:
    """Return what changes with each write: size, time of the content, time of the inode."""
    return told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _padded(size: int) -> int:
    return -(-size // RECORD_BYTES) * RECORD_BYTES


def _raise(error: OSError) -> None:
    raise error

"""Material of a checkpoint: bytes, a file, or a directory, opened anew for each try."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from coordinator.errors import UsageError
from coordinator.segments.archive.packing import DirectorySource, FileSource
from coordinator.segments.faults import SourceChangedError


class Content(Protocol):
    """Content of known length, read in order."""

    length: int

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Material:
    """Material of a checkpoint; `open` opens it anew for each try."""

    form: str
    open: Callable[[], AbstractContextManager[Content]]


class _Bytes(io.BytesIO):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.length = len(content)


def bytes_content(content: bytes) -> Material:
    """Return bytes as content."""

    @contextmanager
    def opened() -> Iterator[Content]:
        yield _Bytes(content)

    return Material("bytes", opened)


def path_content(path: Path) -> Material:
    """Return a file or a directory as content.

    Errors: UsageError when it is neither; OSError.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):

        @contextmanager
        def opened() -> Iterator[Content]:
            yield DirectorySource(path)

        return Material("directory", opened)
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: neither a file nor a directory")

    @contextmanager
    def opened_file() -> Iterator[Content]:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            yield FileSource(file, str(path))

    return Material("file", opened_file)


def exactly(content: Content, size: int) -> bytes:
    """Read so many bytes.

    Errors: SourceChangedError when there are fewer.
    """
    parts: list[bytes] = []
    left = size
    while left:
        part = content.read(left)
        if not part:
            raise SourceChangedError("it became shorter while it was read")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def nothing_more(content: Content) -> None:
    """Raise SourceChangedError unless this was the end."""
    if content.read(1):
        raise SourceChangedError("it grew while it was read")

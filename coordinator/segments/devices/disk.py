"""A directory of this machine as a storage device.

    coord-device        the device's id: a directory without it is another one, or is not mounted
    segments/ab/ID      whole files; their names never change, and nothing is written to them
    temporary/ID.NAME   files on the way, until they are whole and on the disk

EIO of one file is that file's damage. EIO, ENOENT or a wrong id of the directory make the device
offline.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coordinator.segments.devices import lock
from coordinator.segments.devices.marker import MARKER, disk_errors, marker_of, sync_folder, told
from coordinator.segments.faults import DiskError, SegmentAbsentError, SegmentDamagedError

#: Written and deleted at each look; one name, so that a process that was killed leaves one at most.
TRIAL = "coord-trial"
#: So much is handed to the disk while the next bytes arrive, and is not left for the end.
EARLY_BYTES = 4 << 20
#: A disk with less is full: its file system needs some room of its own.
RESERVE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """State of a device now: online, full, read-only or offline."""

    state: str
    total_bytes: int = 0
    free_bytes: int = 0
    error: str | None = None


class Disk:
    """One storage device of this machine, known by its id."""

    __slots__ = ("device", "root")

    def __init__(self, root: Path, device: str) -> None:
        self.root, self.device = root, device

    def state(self) -> DiskState:
        """Look at the directory, and try to write to it; never raises."""
        try:
            self._check()
            found = os.statvfs(self.root)
            total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        except DiskError as error:
            return DiskState(state=error.state, error=str(error))
        except OSError as error:
            return DiskState(state="offline", error=told(error))
        if free < RESERVE_BYTES:
            return DiskState(state="full", total_bytes=total, error="no space left")
        state, told_error = "online", None
        try:
            self._try_to_write()
        except DiskError as error:
            state, told_error = error.state, str(error)
        return DiskState(state=state, total_bytes=total, free_bytes=free, error=told_error)

    def path_of(self, segment: str) -> Path:
        """Return the place of a segment's file.

        Errors: ValueError for anything but the id of a segment, so that no name leads elsewhere.
        """
        name = str(uuid.UUID(segment))
        if name != segment:
            raise ValueError(f"{segment!r} is no id of a segment")
        return self.root / "segments" / name[:2] / name

    @contextlib.contextmanager
    def reading(self, segment: str, offset: int = 0) -> Iterator[Reading]:
        """Open a segment's file from an offset on.

        Errors: SegmentAbsentError; DiskError when the device is not there; SegmentDamagedError when
        the file cannot be read.
        """
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.open(self.path_of(segment), flags)
        except OSError as error:
            self._check()
            if error.errno == errno.ENOENT:
                raise SegmentAbsentError(f"{self.root}: it has no file of it") from error
            raise SegmentDamagedError(f"{self.root}: {told(error)}") from error
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise SegmentDamagedError(f"{self.root}: something else is in the file's place")
            yield Reading(file, offset)
        finally:
            os.close(file)

    @contextlib.contextmanager
    def writing(self, segment: str) -> Iterator[Writing]:
        """Open a temporary file for a segment; without `keep` nothing is left of it.

        Errors: DiskError.
        """
        self._check()
        target = self.path_of(segment)
        place = self.root / "temporary" / f"{segment}.{uuid.uuid4().hex}"
        with disk_errors(self.root):
            for folder in (target.parent, place.parent):
                folder.mkdir(parents=True, exist_ok=True)
            with lock.naming(self.root / MARKER):
                file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                lock.claim(file)
        writing = Writing(self.root, file, place, target)
        try:
            yield writing
        finally:
            os.close(file)
            if not writing.kept:
                with contextlib.suppress(OSError):
                    place.unlink()

    @contextlib.contextmanager
    def deleting(self, wait_s: float = lock.WAIT_S) -> Iterator[None]:
        """Let no file begin, or get its name, while the body decides and deletes (V9).

        Errors: DiskError.
        """
        self._check()
        with contextlib.ExitStack() as stack:
            with disk_errors(self.root):
                stack.enter_context(lock.deleting(self.root / MARKER, wait_s))
            yield

    def delete(self, segment: str) -> None:
        """Delete a segment's file, within `deleting`; it may be gone already.

        Errors: DiskError.
        """
        with disk_errors(self.root):
            remove(self.path_of(segment))

    def segments(self) -> Iterator[str]:
        """Return the ids of all files that are there.

        Errors: DiskError.
        """
        self._check()
        with disk_errors(self.root):
            for path in sorted((self.root / "segments").glob("??/*")):
                yield path.name

    def temporaries(self) -> list[Path]:
        """Return the files on the way."""
        with disk_errors(self.root):
            return sorted((self.root / "temporary").glob("*.*"))

    def _check(self) -> None:
        there = marker_of(self.root)
        if there != self.device:
            what = "its marker is gone" if there is None else "it is another device"
            raise DiskError(f"{self.root}: {what}; is the right disk mounted there?")

    def _try_to_write(self) -> None:
        place = self.root / TRIAL
        with disk_errors(self.root):
            try:
                place.write_bytes(b"\0")
            finally:
                place.unlink(missing_ok=True)


class Reading:
    """An open file, read in order."""

    __slots__ = ("_offset", "file")

    def __init__(self, file: int, offset: int) -> None:
        self.file, self._offset = file, offset

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes.

        Errors: SegmentDamagedError when the disk does not give them.
        """
        try:
            part = os.pread(self.file, size, self._offset)
        except OSError as error:
            raise SegmentDamagedError(f"it cannot be read: {told(error)}") from error
        self._offset += len(part)
        return part

    def length(self) -> int:
        """Return the length of the file."""
        return os.fstat(self.file).st_size

    def forget_cached(self) -> None:
        """Let the next reads come from the disk, and not from the page cache, if that is possible.

        A file system that became read-only after an error may refuse it: its files are no worse.
        """
        with contextlib.suppress(OSError):
            os.fsync(self.file)
        with contextlib.suppress(OSError):
            os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_DONTNEED)


class Writing:
    """A temporary file that becomes a segment's file."""

    __slots__ = ("_file", "_place", "_root", "_target", "_told", "_written", "kept")

    def __init__(self, root: Path, file: int, place: Path, target: Path) -> None:
        self._root, self._file, self._place, self._target = root, file, place, target
        self._written = self._told = 0
        self.kept = False

    def write(self, part: bytes | memoryview) -> None:
        """Add bytes.

        Errors: DiskError.
        """
        left = memoryview(part)
        with disk_errors(self._root):
            while left:
                left = left[os.write(self._file, left) :]
        self._written += len(part)
        if self._written - self._told >= EARLY_BYTES:
            self._begin_early()

    def _begin_early(self) -> None:
        """Let the disk begin with what was written; no fault of it is lost: `keep` waits for all.

        Pages that are still to be written are not dropped by this advice: the kernel only starts to
        write them.
        """
        size = self._written - self._told
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._file, self._told, size, os.POSIX_FADV_DONTNEED)
        self._told = self._written

    def keep(self) -> None:
        """Bring the file onto the disk, then give it its name, then bring that onto the disk.

        Errors: DiskError.
        """
        with disk_errors(self._root):
            os.fsync(self._file)
            if self._target.is_dir() and not self._target.is_symlink():
                # Nobody's folder in the way of a file: an empty one goes, any other is kept aside.
                self._target.rename(self._place.with_name(f"{self._place.name}.aside"))
            with lock.naming(self._root / MARKER):
                self._place.rename(self._target)
            self.kept = True
            for folder in (self._target.parent, self._target.parent.parent):
                sync_folder(folder)


def remove(path: Path) -> None:
    """Delete a file, or an empty folder in its place; it may be gone already.

    Errors: OSError.
    """
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        path.rmdir()

"""Marker of a directory that is a storage device, and the faults that any access to it has."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from coordinator.segments.faults import DiskError

MARKER = "coord-device"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def marker_of(root: Path) -> str | None:
    """Return the id of the device that a directory is; None when it is none yet.

    Errors: DiskError when there is no such directory, or it cannot be read.
    """
    with disk_errors(root):
        if not root.is_dir():
            raise DiskError(f"{root}: there is no such directory")
        try:
            return str(uuid.UUID((root / MARKER).read_text("ascii").strip()))
        except FileNotFoundError:
            return None
        except ValueError:
            raise DiskError(f"{root / MARKER}: it has no id of a device") from None


def make_device(root: Path) -> str:
    """Make a directory a device, and return its id; one that is a device keeps its id.

    Errors: DiskError.
    """
    known = marker_of(root)
    if known is not None:
        return known
    device = str(uuid.uuid4())
    place = root / f"{MARKER}.{uuid.uuid4().hex}"
    with disk_errors(root):
        for folder in ("segments", "temporary"):
            (root / folder).mkdir(exist_ok=True)
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, f"{device}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)
        try:
            # Of two processes that do this one wins; the other takes what it finds.
            with contextlib.suppress(FileExistsError):
                os.link(place, root / MARKER)
        finally:
            place.unlink(missing_ok=True)
        sync_folder(root)
    found = marker_of(root)
    assert found is not None, "the marker was just made"
    return found


@contextlib.contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Raise errors of the system as those of a device, with its state."""
    try:
        yield
    except OSError as error:
        state = "offline"
        if error.errno in _FULL:
            state = "full"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            state = "read-only"
        raise DiskError(f"{root}: {told(error)}", state) from error


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder onto the disk.

    Errors: OSError.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def told(error: OSError) -> str:
    """Return the text of an error, for the middle of a sentence."""
    return (error.strerror or str(error)).lower()

"""Lock of a storage device between those that give files their names and those that delete (V9).

    coord-device        locked shared while a file gets its name, alone while files are deleted
    temporary/ID.NAME   locked by its writer as long as it writes: one that is not is nobody's

The kernel lets go of the locks of a process that dies; one that stands still keeps them.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.segments.faults import DiskError

#: So long a file waits for its name, and a deletion for those that are naming. Either takes
#: milliseconds, unless the disk hangs or a process stands still in the middle.
WAIT_S = 15.0
_TRY_EVERY_S = 0.02


@contextmanager
def naming(marker: Path) -> Iterator[None]:
    """Keep every deletion away while the body gives a file its name.

    Errors: DiskError when a deletion does not end; OSError.
    """
    with _locked(marker, fcntl.LOCK_SH, WAIT_S):
        yield


@contextmanager
def deleting(marker: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Keep everybody away who would give a file its name, or begin one.

    Errors: DiskError when one of them does not end; OSError.
    """
    with _locked(marker, fcntl.LOCK_EX, wait_s):
        yield


def claim(file: int) -> None:
    """Mark a new temporary file as somebody's; to be called under `naming`.

    Errors: OSError.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_nobodys(path: Path) -> bool:
    """Say whether no living process writes to a temporary file; to be called under `deleting`."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


@contextmanager
def _locked(marker: Path, how: int, wait_s: float) -> Iterator[None]:
    # Open for writing, too: file systems that have their locks from elsewhere want that.
    file = os.open(marker, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _wait_for(marker, file, how, wait_s)
        try:
            yield
        finally:
            # To close it is not enough: a child that was forked meanwhile would keep the lock.
            fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


def _wait_for(marker: Path, file: int, how: int, wait_s: float) -> None:
    pause = threading.Event()
    for _ in range(round(wait_s / _TRY_EVERY_S)):
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(_TRY_EVERY_S)
        else:
            return
    raise DiskError(f"{marker}: another process has kept its lock for {wait_s:.0f} s")

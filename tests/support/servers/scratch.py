"""Folders for the servers of tests, which a later run removes when nobody uses them any more.

A process has one folder, and holds a lock on it for as long as it lives. A lock is seen from every
PID namespace, and ends with the process however that ends; a process number says neither.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "coord-servers-"
#: A new folder can be taken for an old one only between its making and its locking.
TRIES_MAX = 100


def scratch() -> Path:
    """Return a fresh directory in memory where possible, that a server's user may pass."""
    path = Path(tempfile.mkdtemp(dir=of_this_process()))
    path.chmod(0o711)
    return path


@functools.cache
def of_this_process() -> Path:
    """Remove what ended runs have left, and return the folder of this process."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    clean_up(parent)
    path, lock = locked_folder(parent)
    atexit.register(_let_go, path, lock)
    return path


def locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder; return it and the descriptor that holds its lock."""
    for _ in range(TRIES_MAX):
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            path.chmod(0o711)
            return path, lock
        os.close(lock)  # somebody who cleaned up had the lock first
    raise AssertionError(f"{TRIES_MAX} folders in {parent} were removed at once")


def clean_up(parent: Path) -> None:
    """Remove the folders that nobody holds a lock on; only our own user's."""
    for left in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            if left.stat().st_uid == os.geteuid():
                _remove_unless_locked(left)


def _remove_unless_locked(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _let_go(path: Path, lock: int) -> None:
    """Remove the folder if it is empty; what its servers have left is for the next run."""
    with contextlib.suppress(OSError):
        path.rmdir()
    with contextlib.suppress(OSError):
        os.close(lock)

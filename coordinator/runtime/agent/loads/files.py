"""Files with the states of tokens, one for each run, in a directory of the agent's own.

The directory is made when the first file is, with a random name and for this user alone. Its agent
holds a lock on it. A directory without that lock was left by an agent that is dead, and the next
agent of the same user removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from coordinator.errors import StateFileError

PREFIX = "coord-state-"


class StateFiles:
    """Files of the runs of one agent; may be used by several threads, each for runs of its own."""

    def __init__(self, parent: str | None = None) -> None:
        """Prepare; nothing is made yet.

        parent: place of the directory; None: where temporary files go (TMPDIR).
        """
        self._parent = parent
        self._home: Path | None = None
        self._lock_fd = -1

    def open(self) -> None:
        """Make the directory, and remove those of dead agents.

        Errors: StateFileError.
        """
        if self._home is not None:
            return
        try:
            parent = self._sweep()
            making = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
            # Locked before it has a name that a sweep looks for.
            self._lock_fd = _locked(making)
            home = making.rename(parent / making.name.removeprefix("."))
        except OSError as error:
            raise StateFileError(
                f"no directory for the state of a program can be made: {error}; TMPDIR names"
                " another place"
            ) from error
        self._home = home

    def _sweep(self) -> Path:
        """Remove the directories of dead agents of this user; return where ours is to be."""
        parent = Path(self._parent or tempfile.gettempdir())
        for home in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if home.lstat().st_uid != os.geteuid():
                    continue
                fd = _locked(home)
                try:
                    shutil.rmtree(home, ignore_errors=True)
                finally:
                    os.close(fd)
        return parent

    def path(self, run: int) -> str:
        """Return where the file of a run is, or would be; after `open`."""
        assert self._home is not None, "opened before"
        return str(self._home / f"run-{run}")

    def write(self, run: int, content: bytes | None) -> str:
        """Write the state of a run, readable for this user alone; without one there is no file.

        Returns the path. Errors: StateFileError; no file is left then.
        """
        self.open()
        path = self.path(run)
        if content is None:
            return path
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        except OSError as error:
            self.remove(run)
            raise StateFileError(
                f"{path}: the state of {len(content)} bytes cannot be written"
                f" ({error.strerror}); make room, or name another place in TMPDIR"
            ) from error
        return path

    def remove(self, run: int) -> None:
        """Remove the file of a run, if there is one."""
        if self._home is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path(run))

    def close(self) -> None:
        """Remove the directory with all files."""
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            os.close(self._lock_fd)
            self._home = None


def _locked(home: Path) -> int:
    """Lock a directory for the life of this process; return the descriptor.

    Errors: OSError; BlockingIOError when its agent lives.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(home, flags)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd

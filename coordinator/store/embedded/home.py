"""The directories of the embedded PostgreSQL: who may enter them, and who works in them now."""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.errors import ConfigError, DatabaseUnreachableError
from coordinator.store.embedded.binaries import Account

PORT = 5432
#: sun_path is 108 bytes with its closing NUL (unix(7)).
SOCKET_PATH_MAX = 107
#: A second starter waits for the first, which may have to copy, initialise and recover.
LOCK_TIMEOUT_S = 120.0
POLL_S = 0.02


def base() -> Path:
    """Return the directory that holds one root per major version."""
    if os.geteuid() == 0:
        return Path("/var/lib/coord")
    import platformdirs

    return Path(platformdirs.user_data_dir("coord"))


def make_home(home: Path, account: Account) -> None:
    """Create `home`; for root the server's user may pass through it, nobody may list it.

    Directories that exist already keep their modes, whatever they are.
    """
    mode = 0o711 if account.switch_to else 0o700
    missing = [path for path in (home, *home.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        owner = home.stat().st_uid
    except OSError as error:
        said = f"{error.filename}: {error.strerror}; choose another COORD_EMBEDDED_ROOT"
        raise ConfigError(said) from error
    if owner != os.geteuid():
        raise ConfigError(f"{home} belongs to another user; choose another COORD_EMBEDDED_ROOT")


def make_sockets(home: Path, account: Account) -> Path:
    """Return a directory for the socket that only the server's user can enter.

    Errors: ConfigError when somebody else made it first.
    """
    sockets = home / "run"
    if not _fits(sockets):
        named = hashlib.blake2b(os.fsencode(home), digest_size=6).hexdigest()
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        sockets = Path(runtime or "/nonexistent") / f"coord-{named}"
        if account.switch_to or not sockets.parent.is_dir() or not _fits(sockets):
            sockets = Path("/tmp") / f"coord-{account.uid}-{named}"  # noqa: S108 verified below
    try:
        sockets.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        account.give(sockets, 0o700)
    verify_private(sockets, account.uid)
    return sockets


def _fits(sockets: Path) -> bool:
    """Tell whether a socket in this directory can be named; libpq reads a comma as two hosts."""
    path = os.fsencode(sockets / f".s.PGSQL.{PORT}")
    return len(path) <= SOCKET_PATH_MAX and b"," not in path


def verify_private(sockets: Path, owner: int) -> None:
    """Refuse a socket directory that others could enter or have planted: trust rests on it."""
    found = sockets.lstat()
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    if not private or found.st_uid != owner:
        raise ConfigError(
            f"{sockets} must be a directory of uid {owner} with mode 0700: remove it,"
            " or choose another COORD_EMBEDDED_ROOT"
        )


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the lock of `home`; the kernel gives it back when its holder dies."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(home / "lock", flags, 0o600)
    pause = threading.Event()
    give_up_at = time.monotonic() + LOCK_TIMEOUT_S
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > give_up_at:
                    raise DatabaseUnreachableError(
                        f"another process has been starting or stopping the embedded PostgreSQL"
                        f" for {LOCK_TIMEOUT_S:g} s ({home / 'lock'})"
                    ) from error
                pause.wait(POLL_S)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def watched(pid: int) -> Iterator[Callable[[float], bool]]:
    """Yield a function that waits up to so many seconds for the end of a process, and tells."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        yield lambda _: True
        return
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    try:
        yield lambda timeout_s: bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(ended)

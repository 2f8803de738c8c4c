"""Choice of the embedded server: one for each user, in every virtual environment.

Two environments of one user may bring programs of different major versions. Were each to make a
server of its own, two nodes of one group would both be active. So the first server that a user has
is the only one: a running one is joined without any programs, and one that does not run is started
by programs of its own major version or not at all.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from coordinator.store.embedded.binaries import Account, find_binaries
from coordinator.store.embedded.home import verify_private


def named_root() -> Path | None:
    """Return COORD_EMBEDDED_ROOT."""
    named = os.environ.get("COORD_EMBEDDED_ROOT")
    return Path(named).absolute() if named else None


def settled_root(above: Path) -> Path | None:
    """Return the directory of the server below `above`; None before the first one was made.

    Of several, which earlier versions made, it is the one that runs, or ran last.
    """
    try:
        homes = [home for home in sorted(above.glob("pg*")) if (home / "data").is_dir()]
    except PermissionError:
        return None
    running = [home for home in homes if ready(home / "data", Account.owning(home / "data").uid)]
    return (running or sorted(homes, key=_last_used))[-1] if homes else None


def first_root(above: Path) -> Path:
    """Return where a user's first server is made."""
    return above / f"pg{find_binaries(copy_to=above).major}"


def made_by(data: Path) -> str | None:
    """Return the major version that a data directory is bound to; None when it is not there."""
    try:
        return (data / "PG_VERSION").read_text().strip()
    except OSError:
        return None


def _last_used(home: Path) -> float:
    log = home / "log"
    return log.stat().st_mtime if log.exists() else 0.0


def ready(data: Path, owner: int) -> tuple[int, Path] | None:
    """Return the pid and the socket directory of the server that answers for `data`.

    Errors: ConfigError when the socket directory is open to others.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(lines) < 8 or lines[7].strip() != "ready":
        return None
    sockets = Path(lines[4])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(sockets / f".s.PGSQL.{lines[3]}"))
        except OSError:
            return None
        size = struct.calcsize("3i")
        packed = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, _ = struct.unpack("3i", packed)
    # A pid file can be older than the machine's boot; who listens now is what the kernel says.
    if pid != int(lines[0]) or uid != owner:
        return None
    verify_private(sockets, owner)
    return pid, sockets

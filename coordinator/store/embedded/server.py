"""A real PostgreSQL of our own for trying out: one per user of a machine, shared by its nodes.

    <root>/lock   held (flock) by the process that starts or stops the server
    <root>/data   the cluster; appears complete or not at all
    <root>/run    the socket; nobody but the server's user can enter
    <root>/log    what the server writes to stderr

It listens on that socket alone. It outlives its starter, and a Ctrl-C does not reach it.
A starter inside a service's cgroup, or below a subreaper that kills what it adopts, would take
the server down with itself: start it before either.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.errors import ConfigError, DatabaseUnreachableError
from coordinator.store.embedded.binaries import (
    Account,
    Binaries,
    environment,
    find_binaries,
    ids,
    run_as,
)
from coordinator.store.embedded.choice import (
    first_root,
    made_by,
    named_root,
    ready,
    settled_root,
)
from coordinator.store.embedded.home import (
    POLL_S,
    PORT,
    base,
    locked,
    make_home,
    make_sockets,
    watched,
)

NAME = "coord"  #: of the database and of its owner
#: Crash recovery of a small cluster takes seconds; a slow disk is given this many.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
LOG_BYTES_MAX = 10_000_000

#: A start that fails with one of these meets the end of an earlier server: try again.
_PASSING = ("lock file", "pre-existing shared memory block")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    conninfo: str
    version: str
    path: Path
    pid: int


def start(root: Path | None = None) -> Running:
    """Return the running server of `root`, after starting or creating it where needed.

    Any number of callers may do this at once; they get the same server.
    Errors: ConfigError (no programs, a closed or foreign directory, another major version),
    DatabaseUnreachableError when it does not come up.
    """
    home = root or named_root()
    if home is not None:
        return _start(home)
    above = base()
    make_home(above, Account.choose())
    # Two virtual environments with programs of their own must not make a server each.
    with locked(above):
        return _start(settled_root(above) or first_root(above))


def _start(home: Path) -> Running:
    # A running server is used without any programs.
    running = status(home)
    if running is not None:
        return running
    data = home / "data"
    binaries = find_binaries(copy_to=base(), major=made_by(data))
    binaries = replace(binaries, account=Account.owning(data))
    make_home(home, binaries.account)
    with locked(home):
        found = _answering(home, binaries.account)
        if found is None:
            _prepare(home, binaries)
            found = _launch_until_ready(home, binaries)
    pid, sockets = found
    return Running(conninfo=conninfo(sockets), version=binaries.version, path=home, pid=pid)


def stop(root: Path | None = None) -> bool:
    """Stop the server of `root`, ending its clients' connections; False when none runs.

    Errors: DatabaseUnreachableError when it does not end in time.
    """
    home = root or known_root()
    if home is None or not home.is_dir():
        return False
    account = Account.owning(home / "data")
    with locked(home):
        found = _answering(home, account)
        if found is None:
            return False
        with watched(found[0]) as ended:
            with suppress(ProcessLookupError):
                os.kill(found[0], signal.SIGINT)  # PostgreSQL's fast shutdown
            if not ended(STOP_TIMEOUT_S):
                raise DatabaseUnreachableError(
                    f"the embedded PostgreSQL (pid {found[0]}) did not stop"
                    f" in {STOP_TIMEOUT_S:g} s; see {home / 'log'}"
                )
    return True


def status(root: Path | None = None) -> Running | None:
    """Return the running server of `root`; None when none answers. Starts nothing."""
    home = root or known_root()
    if home is None or not home.is_dir():
        return None
    found = _answering(home, Account.owning(home / "data"))
    if found is None:
        return None
    version = made_by(home / "data") or ""
    return Running(conninfo=conninfo(found[1]), version=version, path=home, pid=found[0])


def default_root() -> Path:
    """Return the directory that `start` would use."""
    return known_root() or first_root(base())


def known_root() -> Path | None:
    """Return COORD_EMBEDDED_ROOT, or the directory of this user's server; None before the first."""
    return named_root() or settled_root(base())


def conninfo(sockets: Path) -> str:
    """Return how to connect through the socket directory."""
    escaped = str(sockets).replace("\\", "\\\\").replace("'", "\\'")
    return f"host='{escaped}' port={PORT} user={NAME} dbname={NAME}"


def initialise(binaries: Binaries, data: Path) -> None:
    """Create a cluster in the empty directory `data`, with the database NAME.

    Errors: ConfigError with what initdb said.
    """
    binaries.run(
        [
            *("initdb", "-D", str(data), "-U", NAME, "-A", "trust"),
            *("--no-sync", "--encoding=UTF8", "--locale=C"),
        ]
    )
    # Without a server, so that the first one that answers has the database already.
    binaries.run(
        ["postgres", "--single", "-F", "-D", str(data), "postgres"], f"CREATE DATABASE {NAME}\n"
    )


#: Nobody else starts this server, so each start goes on with what was there (rule E3).
#: store/node/epoch.py looks for this name, and for where it was given.
IN_PLACE = ("-c", "cluster_name=coord-in-place")


def options(sockets: Path) -> list[str]:
    """Return the server's arguments: reachable through `sockets` and through nothing else."""
    quoted = '"' + str(sockets).replace('"', '""') + '"'
    settings = {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_directories": quoted,
        "unix_socket_permissions": "0700",
        "max_connections": 200,
        "fsync": "on",
        "full_page_writes": "on",
        "log_checkpoints": "off",
        "logging_collector": "off",
    }
    return [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]


def _prepare(home: Path, binaries: Binaries) -> None:
    """Make sure that `home` has a complete cluster of the right major version."""
    data = home / "data"
    if data.is_dir():
        found = made_by(data)
        if found != binaries.major:
            raise ConfigError(
                f"{data} was made by PostgreSQL {found}, the programs found are"
                f" {binaries.version}: start it from where PostgreSQL {found} is installed"
                " (`coord db up`), set COORD_PG_BINDIR to its programs, or use another"
                " COORD_EMBEDDED_ROOT"
            )
        return
    partial = home / "data.new"
    # What a starter left that was killed half-way.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    binaries.account.give(partial, 0o700)
    if run_as(binaries.account, ["/bin/sh", "-c", 'cd "$0"', str(partial)]).returncode != 0:
        raise ConfigError(
            f"{home} lies in a directory that PostgreSQL's user (uid {binaries.account.uid})"
            " cannot enter; choose another COORD_EMBEDDED_ROOT"
        )
    initialise(binaries, partial)
    partial.rename(data)


def _answering(home: Path, account: Account) -> tuple[int, Path] | None:
    """Return the pid and the socket directory of the server of `home`, when it answers."""
    return ready(home / "data", account.uid)


def _launch_until_ready(home: Path, binaries: Binaries) -> tuple[int, Path]:
    """Start the server and wait until it answers.

    Errors: DatabaseUnreachableError with the server's last words.
    """
    log = home / "log"
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while True:
        written = _make_log(log, binaries.account)
        with watched(_launch(home, binaries, log)) as ended:
            # Waiting on its end is the pause between two looks.
            while not ended(POLL_S):
                found = _answering(home, binaries.account)
                if found is not None:
                    return found
                if time.monotonic() > give_up_at:
                    raise DatabaseUnreachableError(
                        f"the embedded PostgreSQL did not answer in {START_TIMEOUT_S:g} s;"
                        f" see {log}"
                    )
        said = _last_words(log, written)
        if not said.startswith(_PASSING) or time.monotonic() > give_up_at:
            raise DatabaseUnreachableError(
                f"the embedded PostgreSQL did not start: {said}; see {log}"
            )


def _last_words(log: Path, written: int) -> str:
    """Return why the server ended, from what it logged after the first `written` bytes."""
    lines = log.read_bytes()[written:].decode(errors="replace").strip().splitlines()
    fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return (fatal or lines or ["no reason given"])[-1]


def _make_log(log: Path, account: Account) -> int:
    """Give the server a log to append to; a long one starts again. Return its size."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.unlink()
    log.touch(mode=0o600)
    account.give(log, 0o600)
    return log.stat().st_size


def _launch(home: Path, binaries: Binaries, log: Path) -> int:
    """Start the server in a session of its own, as nobody's child; return its pid.

    The shell between lets the server be adopted by init, so that it never is our zombie.
    """
    sockets = make_sockets(home, binaries.account)
    script = '"$@" </dev/null >>"$0" 2>&1 & echo $!'
    server = [binaries.program("postgres"), "-D", str(home / "data"), *options(sockets), *IN_PLACE]
    started = subprocess.run(
        ["/bin/sh", "-c", script, str(log), *server],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment(),
        start_new_session=True,
        umask=0o077,
        check=True,
        **ids(binaries.account),
    )
    return int(started.stdout)

"""A PgBouncer of a test's own: between nodes and server, as many sites have one.

It hands a session to a client for one transaction and then to the next one, in turn over at least
three of them, so that nothing of a session can seem to stay by chance. Reachable by its socket
alone; a pipe to the shell around it ends it when the test's process ends, however that happens.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from coordinator.store.embedded.binaries import Account, environment, ids
from coordinator.store.embedded.home import watched
from tests.support.servers.postgres import WATCH, wait_until
from tests.support.servers.scratch import scratch

PORT = 6432
END_S = 10.0
#: Debian keeps it where only root's PATH looks.
PATHS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))

CONFIG = """
[databases]
* = host={host} port={port} user={user}

[pgbouncer]
listen_addr =
listen_port = {own_port}
unix_socket_dir = {sockets}
auth_type = any
pool_mode = {mode}
min_pool_size = 3
default_pool_size = {pool_size}
server_round_robin = 1
max_client_conn = 200
query_wait_timeout = {wait_s}
"""


def require() -> str:
    """Return the program; skip the test where there is none, but fail in CI, which must have it."""
    program = shutil.which("pgbouncer", path=PATHS)
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("there is no `pgbouncer`: install Debian's package pgbouncer")
    if program is None:
        pytest.skip("there is no `pgbouncer`: install Debian's package pgbouncer")
    return program


class Pooler:
    """One PgBouncer before the server that a conninfo names."""

    def __init__(self, upstream: str, mode: str, pool_size: int, wait_s: int) -> None:
        self._program, self._account = require(), Account.choose()
        self._home = scratch()
        self._mode, self._pool_size, self._wait_s = mode, pool_size, wait_s
        self._upstream = upstream
        self._watch: subprocess.Popen[str] | None = None
        self.pid = 0
        for path in (self._sockets, self._log):
            path.mkdir() if path == self._sockets else path.touch()
            self._account.give(path, 0o700)
        self._configure()
        self.start()

    @property
    def _sockets(self) -> Path:
        return self._home / "run"

    @property
    def _log(self) -> Path:
        return self._home / "log"

    @property
    def conninfo(self) -> str:
        """Conninfo of a connection through the pooler."""
        return make_conninfo(self._upstream, host=str(self._sockets), port=str(PORT))

    def said(self) -> str:
        """Return its log."""
        return self._log.read_text()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [self._program, str(self._home / "config")]
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, str(self._log), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=environment(),
            start_new_session=True,
            **ids(self._account),
        )
        assert self._watch.stdout is not None
        self.pid = int(self._watch.stdout.readline())
        wait_until((self._sockets / f".s.PGSQL.{PORT}").exists, END_S)

    def stop(self) -> None:
        """End it as a crash would: every client and every server loses its connection."""
        if self._watch is None:
            return
        with watched(self.pid) as ended:
            os.kill(self.pid, signal.SIGKILL)
            assert ended(END_S)
        assert self._watch.stdin is not None
        assert self._watch.stdout is not None
        self._watch.stdin.close()
        self._watch.stdout.close()
        self._watch.wait(END_S)
        self._watch = None
        (self._sockets / f".s.PGSQL.{PORT}").unlink(missing_ok=True)

    def restart(self) -> None:
        """Let it crash and start again."""
        self.stop()
        self.start()

    def lead_to(self, upstream: str) -> None:
        """Lead to another server from now on; the clients keep their connections."""
        self._upstream = make_conninfo(self._upstream, **_where(upstream))
        self._configure()
        os.kill(self.pid, signal.SIGHUP)

    def remove(self) -> None:
        """End it and delete what it had."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _configure(self) -> None:
        where = conninfo_to_dict(self._upstream)
        config = self._home / "config"
        config.write_text(
            CONFIG.format(
                host=where["host"],
                port=where["port"],
                user=where["user"],
                own_port=PORT,
                sockets=self._sockets,
                mode=self._mode,
                pool_size=self._pool_size,
                wait_s=self._wait_s,
            )
        )
        self._account.give(config, 0o600)


def _where(conninfo: str) -> dict[str, str]:
    named = conninfo_to_dict(conninfo)
    return {key: str(named[key]) for key in ("host", "port")}


@contextmanager
def pooler(
    upstream: str, mode: str = "transaction", pool_size: int = 20, wait_s: int = 120
) -> Iterator[Pooler]:
    """Give a PgBouncer before the server of a conninfo, and end it.

    wait_s: how long a statement may wait for a server.
    """
    made = Pooler(upstream, mode, pool_size, wait_s)
    try:
        yield made
    finally:
        made.remove()

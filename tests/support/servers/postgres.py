"""A PostgreSQL server that a test owns wholly: it may crash it, freeze it, clone and promote it.

Runs on the programs and with the options of the embedded server. Every server is watched over by
a shell that ends it when this process ends, however that happens.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from coordinator.store.embedded import server as embedded
from coordinator.store.embedded.binaries import Binaries, environment, find_binaries, ids
from coordinator.store.embedded.choice import ready
from coordinator.store.embedded.home import PORT, watched
from tests.support.servers.scratch import scratch

#: The server is our child's child; when our end of the pipe closes, the shell ends both.
WATCH = '"$@" </dev/null >>"$0" 2>&1 & echo $!; read _; kill -QUIT $! 2>/dev/null; wait'
WAIT_S = 30.0


@dataclass
class Server:
    """One PostgreSQL, primary or standby, in a directory of its own below `home`."""

    home: Path
    name: str
    binaries: Binaries
    settings: dict[str, str] = field(default_factory=dict)
    tcp_port: int | None = None
    pid: int = 0
    _watch: subprocess.Popen[str] | None = None

    @classmethod
    def create(cls, home: Path | None = None, *, tcp: bool = False, **settings: str) -> Server:
        """Create and start a primary; `settings` are options of the server."""
        server = cls(home or scratch(), "primary", find_binaries(), settings)
        if tcp:
            server.tcp_port = free_port()
        server._make_directories()
        embedded.initialise(server.binaries, server.data)
        server.start()
        return server

    @property
    def data(self) -> Path:
        return self.home / self.name / "data"

    @property
    def sockets(self) -> Path:
        return self.home / self.name / "run"

    @property
    def port(self) -> int:
        """Port by TCP, and part of the socket's name: PostgreSQL has one number for both."""
        return self.tcp_port or PORT

    @property
    def log(self) -> Path:
        return self.home / self.name / "log"

    def conninfo(self, dbname: str = embedded.NAME, *, tcp: bool = False, **more: str) -> str:
        """Return how to connect; by TCP when asked (the server was created with tcp=True)."""
        assert self.tcp_port is not None or not tcp
        host = "127.0.0.1" if tcp else str(self.sockets)
        ours = {"host": host, "port": str(self.port), "user": embedded.NAME, "dbname": dbname}
        return make_conninfo("", **ours | more)

    def connect(self, dbname: str = embedded.NAME) -> psycopg.Connection[tuple[object, ...]]:
        """Connect in autocommit mode."""
        return psycopg.connect(self.conninfo(dbname), autocommit=True)

    def query(self, statement: str, *values: object, dbname: str = embedded.NAME) -> list[tuple]:
        """Run one statement on a connection of its own; return its rows, if it has any."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, and wait until it answers; also after a crash."""
        assert self._watch is None, f"{self.name} runs already"
        give_up_at = time.monotonic() + WAIT_S
        while True:
            watch, pid = self._spawn()
            with watched(pid) as ended:
                while not ended(0.01):
                    if ready(self.data, self.binaries.account.uid):
                        self.pid, self._watch = pid, watch
                        return
                    assert time.monotonic() < give_up_at, self.log.read_text()
            _let_go(watch)
            # The backends of a crashed server may outlive it by moments.
            assert time.monotonic() < give_up_at, self.log.read_text()

    def stop(self, mode: str = "fast") -> None:
        """Stop in mode smart, fast or immediate (no shutdown checkpoint); no-op when down."""
        by = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        self._signal_and_wait(by[mode])

    def kill9(self) -> None:
        """SIGKILL the postmaster, as the kernel's OOM killer would; its backends follow."""
        self._signal_and_wait(signal.SIGKILL)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def freeze(self) -> None:
        """SIGSTOP the whole server: clients' sockets stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        for child in self._children():
            os.kill(child, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT the whole server."""
        for child in self._children():
            os.kill(child, signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    def reload(self, **settings: str) -> None:
        """ALTER SYSTEM, and wait until a new connection sees the values."""
        with self.connect() as connection:
            for key, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {key} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")
        for key, value in settings.items():
            wait_until(lambda key=key, value=value: self.query(f"SHOW {key}") == [(value,)])

    def remove(self) -> None:
        """Stop at once and delete its directory; safe in any state."""
        with contextlib.suppress(ProcessLookupError):
            if self._watch is not None:
                self.thaw()
        self.stop("immediate")
        shutil.rmtree(self.data.parent, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.home.rmdir()

    # --- replication --------------------------------------------------------------------------

    def clone_standby(self, name: str = "standby", *, sync: bool = False) -> Server:
        """Start a streaming standby of this server; sync: commits wait for it from now on."""
        standby = Server(self.home, name, self.binaries, dict(self.settings))
        if self.tcp_port is not None:
            standby.tcp_port = free_port()
        standby._make_directories()
        source = ["-h", str(self.sockets), "-p", str(self.port), "-U", embedded.NAME]
        target = ["-D", str(standby.data), "-X", "stream", "-c", "fast", "--no-sync"]
        self.binaries.run(["pg_basebackup", *source, *target])
        (standby.data / "standby.signal").touch()
        self.binaries.account.give(standby.data / "standby.signal", 0o600)
        upstream = f"host={self.sockets} port={self.port} user={embedded.NAME}"
        with (standby.data / "postgresql.auto.conf").open("a") as conf:
            conf.write(f"primary_conninfo = '{upstream} application_name={name}'\n")
            conf.write("synchronous_standby_names = ''\n")
        standby.start()
        wait_until(lambda: self._replicas(name) == ["streaming"])
        if sync:
            self.reload(synchronous_standby_names=name)
            wait_until(
                lambda: self.query("SELECT sync_state FROM pg_stat_replication") == [("sync",)]
            )
        return standby

    def wait_for_standby(self, name: str = "standby") -> None:
        """Wait until the standby has replayed all that is committed here now."""
        (target,) = self.query("SELECT pg_current_wal_lsn()::text")[0]
        query = "SELECT replay_lsn >= %s::pg_lsn FROM pg_stat_replication WHERE application_name=%s"
        wait_until(lambda: self.query(query, target, name) == [(True,)])

    def unfollow(self) -> None:
        """Cut a standby off from its primary; what is committed there from now on is lost here."""
        self.reload(primary_conninfo="")
        wait_until(lambda: self.query("SELECT pid FROM pg_stat_wal_receiver") == [])

    def promote(self) -> None:
        """Make a standby a primary, and wait until it is one."""
        assert self.query("SELECT pg_promote(true, 30)") == [(True,)]

    def _replicas(self, name: str) -> list[object]:
        query = "SELECT state FROM pg_stat_replication WHERE application_name = %s"
        return [row[0] for row in self.query(query, name)]

    # --- inside -------------------------------------------------------------------------------

    def _make_directories(self) -> None:
        self.data.parent.mkdir(parents=True)
        self.data.parent.chmod(0o711)
        for path in (self.data, self.sockets):
            path.mkdir()
            self.binaries.account.give(path, 0o700)
        self.log.touch()
        self.binaries.account.give(self.log, 0o600)

    def _spawn(self) -> tuple[subprocess.Popen[str], int]:
        # Segments below the data directory: what a killed server leaves goes away with it.
        settings = {"shared_buffers": "32MB", "dynamic_shared_memory_type": "mmap"}
        settings |= self.settings
        if self.tcp_port is not None:
            settings |= {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        options = embedded.options(self.sockets)
        options += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        server = [self.binaries.program("postgres"), "-D", str(self.data), *options]
        watch = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, str(self.log), *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=environment(),
            start_new_session=True,
            umask=0o077,
            **ids(self.binaries.account),
        )
        assert watch.stdout is not None
        return watch, int(watch.stdout.readline())

    def _signal_and_wait(self, signum: signal.Signals) -> None:
        if self._watch is None:
            return
        with watched(self.pid) as ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)
            assert ended(WAIT_S), f"{self.name} did not end after {signum.name}"
        _let_go(self._watch)
        self._watch, self.pid = None, 0

    def _children(self) -> list[int]:
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(word) for word in text.split()]


def _let_go(watch: subprocess.Popen[str]) -> None:
    """End the shell that watched over a server, and take its exit code."""
    assert watch.stdin is not None
    assert watch.stdout is not None
    watch.stdin.close()
    watch.stdout.close()
    watch.wait(WAIT_S)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition, timeout_s: float = WAIT_S) -> None:
    """Look again and again until the condition holds; a condition of the server has no event."""
    pause = threading.Event()
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "waited in vain"
        pause.wait(0.01)

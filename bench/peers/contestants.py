"""Contestants of the failover matrix: coord, and what a user would pick instead.

A contestant starts nodes around one and the same program (the recorder), names their processes,
and says when all of them stand ready. What it has no process for, it is not hurt in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg

from bench import floor
from bench.measure import BenchError, Run, Tail, boottime, until
from bench.parts.startup import settled
from bench.peers import zookeeper
from coordinator.store.schema import migrate
from tests.support.networks import machines as networks
from tests.support.networks.machines import Network
from tests.support.nodes.processes import RECORDER, Bed, descendants
from tests.support.servers.postgres import Server, free_port
from tests.support.servers.scratch import scratch

NAMES = ("node-1", "node-2", "node-3")
LIVENESS_S, HEARTBEAT_S = 3.0, 0.5
#: The recorder reports progress ten times a second; a program that stands still is found out.
PROGRESS = ("--progress-timeout", "1")
LOCK_KEY = 4711
LOCK_SCRIPT = Path(__file__).with_name("lock_script.py")
ZOOKEEPER_LOCK = Path(__file__).with_name("zookeeper_lock.py")
ROOT = Path(__file__).parents[2]
#: The Python that has what peers are written with; `make bench-peers` makes it.
PEERS_PYTHON = ".venv-peers/bin/python"
END_S = 5.0
#: A lock script says to nobody that it waits; after so long it has asked once.
ASKED_S = 2.0
USER = PASSWORD = "bench"


class Contestant(Protocol):
    """One way to keep one program running on three nodes."""

    tail: Tail
    last_beat: bool  #: true if a node's last beat can be read

    def start(self, node: str) -> None:
        """Start a node that is not there, or has ended."""
        ...

    def pids(self, node: str) -> dict[str, int]:
        """Return the node's processes by name; `agent` is the one that holds the lock."""
        ...

    def alive(self, node: str) -> bool:
        """Say whether the node's first process lives."""
        ...

    def ready(self) -> Run | None:
        """Return the one running program when every node stands ready; else None."""
        ...

    def command_of(self, node: str) -> tuple[list[str], dict[str, str]]:
        """Return the command and the environment with which a node is started."""
        ...

    def stands_by(self, node: str) -> bool:
        """Say whether a node that was started here lives and waits for the lock."""
        ...

    def leave(self, node: str) -> None:
        """End a node that was started here, with its program."""
        ...

    def last_beat_wall(self, node: str) -> float:
        """Return the moment of a node's last heartbeat by the server's clock."""
        ...

    def end(self) -> None:
        """Leave nothing running."""
        ...


@dataclass
class Coord:
    """Contestant coord: real nodes on a fresh database."""

    bed: Bed
    net: Network | None = None
    observer: psycopg.Connection[tuple[object, ...]] | None = None
    last_beat: bool = True
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = Tail(self.bed.record)

    def start(self, node: str) -> None:
        with _at(self.net, node):
            self.bed.start(node, *PROGRESS)

    def pids(self, node: str) -> dict[str, int]:
        return self.bed.nodes[node].family()

    def alive(self, node: str) -> bool:
        return self.bed.nodes[node].process.poll() is None

    def ready(self) -> Run | None:
        if self.net is None:
            return settled(self.bed, self.tail)
        outside = Bed(self.bed.path, self.observer.info.dsn, self.bed.schema)  # type: ignore[union-attr]
        outside.nodes, outside.heartbeat_s = self.bed.nodes, self.bed.heartbeat_s
        return settled(outside, self.tail)

    def command_of(self, node: str) -> tuple[list[str], dict[str, str]]:
        return self.bed.command_of(node, *PROGRESS)

    def stands_by(self, node: str) -> bool:
        return self.bed.nodes[node].stands_by()

    def leave(self, node: str) -> None:
        self.bed.nodes[node].end()

    def last_beat_wall(self, node: str) -> float:
        assert self.observer is not None
        row = self.observer.execute(
            "SELECT extract(epoch FROM last_heartbeat)::float8 FROM health_check"
            " WHERE task_id = %s",
            [node],
        ).fetchone()
        assert row is not None
        return float(str(row[0]))

    def end(self) -> None:
        self.bed.end()
        if self.observer is not None:
            self.observer.close()


@dataclass
class Wrapped:
    """A peer: one process that takes a lock and runs the program as its child."""

    folder: Path
    command: tuple[str, ...]  #: the program is appended
    net: Network | None = None
    environ: dict[str, str] = field(default_factory=dict)
    last_beat: bool = False
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started_at: dict[str, float] = field(default_factory=dict)
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.record = self.folder / "record"
        self.tail = Tail(self.record)

    def start(self, node: str) -> None:
        command, env = self.command_of(node)
        with (self.folder / f"{node}.log").open("ab") as log, _at(self.net, node):
            self.nodes[node] = subprocess.Popen(
                command,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started_at[node] = boottime()

    def pids(self, node: str) -> dict[str, int]:
        locker = self.nodes[node].pid
        found = {"agent": locker}
        for pid in descendants(locker):
            found["program"] = pid
        return found

    def alive(self, node: str) -> bool:
        return self.nodes[node].poll() is None

    def ready(self) -> Run | None:
        running = self.tail.running()
        whole = len(running) == 1 and all(map(self.stands_by, self.nodes))
        return running[0] if whole else None

    def command_of(self, node: str) -> tuple[list[str], dict[str, str]]:
        program = (sys.executable, "-S", str(RECORDER), str(self.record))
        env = {**os.environ, **self.environ, "COORD_NODE": node, "COORD_TERM": "0"}
        return [*self.command, *program], env

    def stands_by(self, node: str) -> bool:
        return self.alive(node) and boottime() - self.started_at[node] > ASKED_S

    def leave(self, node: str) -> None:
        self._end([node])

    def last_beat_wall(self, node: str) -> float:
        raise BenchError(f"{node} has no heartbeats that could be read")

    def end(self) -> None:
        self._end(list(self.nodes))
        for run in self.tail.running(within_s=1.0):
            _kill(run.pid)

    def _end(self, nodes: list[str]) -> None:
        """Kill nodes all at once, so that none of them gets the lock of another; then collect."""
        # Of one that was collected the number may be another's by now.
        left = [pid for node in nodes if self.alive(node) for pid in self.pids(node).values()]
        for pid in left:
            _kill(pid)
        for node in nodes:
            self.nodes[node].wait(END_S)


def _at(net: Network | None, node: str) -> AbstractContextManager[None]:
    return nullcontext() if net is None else net.inside(node)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


# --- making them ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Place of a contestant: a folder, a server, and a network when cables are to be cut."""

    folder: Path
    server: Server
    net: Network | None

    def host(self) -> str:
        """Return the address of servers: nodes reach it, and a cut node does not."""
        return "127.0.0.1" if self.net is None else self.net.address("database")

    def database(self) -> tuple[str, floor.Database]:
        """Return how nodes reach a fresh database, and the database as seen from here."""
        if self.net is None:
            made = floor.new_database(self.server)
            return made.conninfo, made
        made = floor.Database(self.server, f"cut_{self.folder.name.replace('-', '_').lower()}")
        networks.new_database(self.server, made.name, USER, PASSWORD)
        return networks.conninfo(self.net, made.name, USER, PASSWORD), made


@contextmanager
def coord(place: Place) -> Iterator[Contestant]:
    """Make three nodes of ours."""
    conninfo, database = place.database()
    if place.net is not None:
        migrate.upgrade(database.conninfo, floor.SCHEMA)
        database.query(f"GRANT USAGE ON SCHEMA {floor.SCHEMA} TO {USER}")
        database.query(f"GRANT ALL ON ALL TABLES IN SCHEMA {floor.SCHEMA} TO {USER}")
        database.query(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {floor.SCHEMA} TO {USER}")
    bed = Bed(place.folder, conninfo, floor.SCHEMA)
    bed.liveness_s, bed.heartbeat_s = LIVENESS_S, HEARTBEAT_S
    made = Coord(bed, place.net, database.connect())
    try:
        yield made
    finally:
        made.end()


@contextmanager
def lock_script(place: Place, how: str) -> Iterator[Contestant]:
    """Make three of the script with a session advisory lock."""
    conninfo, _ = place.database()
    command = (sys.executable, str(LOCK_SCRIPT), conninfo, str(LOCK_KEY), how)
    made = Wrapped(place.folder, command, place.net)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def memory() -> Iterator[Path]:
    """Give a folder in memory, as PostgreSQL's is: no peer waits for a disk that we do not use."""
    made = scratch()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def kazoo(place: Place) -> Iterator[Contestant]:
    """Make a ZooKeeper of one member, and three scripts with kazoo's Lock."""
    host, port = place.host(), free_port()
    command = (str(ROOT / PEERS_PYTHON), str(ZOOKEEPER_LOCK), f"{host}:{port}", str(LIVENESS_S))
    made = Wrapped(place.folder, command, place.net)
    with memory() as home:
        with _at(place.net, "database"):
            server = zookeeper.start(home, host, port)
        try:
            yield made
        finally:
            made.end()
            zookeeper.end(server)


@contextmanager
def etcd(place: Place) -> Iterator[Contestant]:
    """Make an etcd of one member, and three of `etcdctl lock`."""
    with memory() as home:
        yield from _etcd(place, home)


def _etcd(place: Place, home: Path) -> Iterator[Contestant]:
    ports = free_port(), free_port()
    host = place.host()
    client, peer = (f"http://{host}:{port}" for port in ports)
    command: tuple[str, ...] = ("etcd", "--name", "bench", "--data-dir", str(home / "etcd"))
    command += ("--listen-client-urls", client, "--advertise-client-urls", client)
    command += ("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer)
    command += ("--initial-cluster", f"bench={peer}", "--log-level", "error")
    with (place.folder / "etcd.log").open("ab") as log, _at(place.net, "database"):
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    environ = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": client}
    locker = ("etcdctl", "lock", f"--ttl={round(LIVENESS_S)}", "--", "bench")
    made = Wrapped(place.folder, locker, place.net, environ)
    try:
        with _at(place.net, "database"):
            health = ("etcdctl", "endpoint", "health")
            if not until(lambda: _succeeds(health, environ), 20):
                raise BenchError("etcd did not come up")
        yield made
    finally:
        made.end()
        server.kill()
        server.wait(END_S)


def _succeeds(command: tuple[str, ...], environ: dict[str, str]) -> bool:
    env = {**os.environ, **environ}
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


def lacking(needs: tuple[str, ...]) -> str:
    """Return what is not there, in words for the page; empty when everything is."""
    gone = [name for name in needs if not shutil.which(name) and not (ROOT / name).exists()]
    return f"not installed here: {', '.join(gone)} (`make bench-peers`)" if gone else ""


@dataclass(frozen=True)
class Entry:
    """A line of the matrix."""

    key: str
    title: str
    make: str  #: name of a function of this module, and its arguments behind a colon
    needs: tuple[str, ...] = ()  #: programs and files that must be there
    on_a_node: tuple[str, ...] = ()  #: those of them that a node runs

    def missing(self) -> str:
        """Return why it does not take part; empty when it does."""
        return lacking(self.needs)

    def contestant(self, place: Place) -> AbstractContextManager[Contestant]:
        """Make it."""
        match self.make.split(":"):
            case ["coord"]:
                return coord(place)
            case ["lock_script", how]:
                return lock_script(place, how)
            case ["etcd"]:
                return etcd(place)
            case ["kazoo"]:
                return kazoo(place)
            case _:
                raise BenchError(f"nobody makes {self.make}")


ENTRIES = (
    Entry("coord", "coord", "coord"),
    Entry("lock-naive", "advisory lock script, naive", "lock_script:naive"),
    Entry("lock-checked", "advisory lock script, checked", "lock_script:checked"),
    Entry(
        "etcd",
        f"etcdctl lock --ttl={round(LIVENESS_S)}",
        "etcd",
        ("etcd", "etcdctl"),
        ("etcdctl",),
    ),
    Entry(
        "zookeeper",
        f"kazoo's Lock with ZooKeeper, session of {LIVENESS_S:g} s",
        "kazoo",
        ("java", zookeeper.JAR, PEERS_PYTHON),
        (PEERS_PYTHON,),
    ),
)

"""Entries of the failover matrix, and how each contestant is made at a place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import floor
from bench.measure import BenchError, until
from bench.peers import zookeeper
from bench.peers.contestants import (
    END_S,
    HEARTBEAT_S,
    LIVENESS_S,
    Contestant,
    Coord,
    Wrapped,
    at_node,
)
from coordinator.store.schema import migrate
from tests.support.networks import machines as networks
from tests.support.networks.machines import Network
from tests.support.nodes.processes import Bed
from tests.support.servers.postgres import Server, free_port
from tests.support.servers.scratch import scratch

LOCK_KEY = 4711
LOCK_SCRIPT = Path(__file__).with_name("lock_script.py")
ZOOKEEPER_LOCK = Path(__file__).with_name("zookeeper_lock.py")
ROOT = Path(__file__).parents[2]
#: The Python that has what peers are written with; `make bench-peers` makes it.
PEERS_PYTHON = ".venv-peers/bin/python"
USER = PASSWORD = "bench"


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
        with at_node(place.net, "database"):
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
    with (place.folder / "etcd.log").open("ab") as log, at_node(place.net, "database"):
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    environ = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": client}
    locker = ("etcdctl", "lock", f"--ttl={round(LIVENESS_S)}", "--", "bench")
    made = Wrapped(place.folder, locker, place.net, environ)
    try:
        with at_node(place.net, "database"):
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

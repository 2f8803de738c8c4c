"""Three PostgreSQL servers under Patroni, with etcd, HAProxy and PgBouncer, each on a machine.

What docs/patroni.md shows is the configuration; only addresses and paths are put in. All processes
belong to network namespaces, and end with them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from coordinator.store.embedded.binaries import environment, find_binaries, ids
from tests.support.networks import machines as networks
from tests.support.networks.machines import RANGE, Network
from tests.support.nodes.processes import eventually
from tests.support.servers.pgbouncer import PATHS
from tests.support.servers.scratch import scratch

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "patroni.md"
PROGRAMS = ROOT / ".venv-patroni" / "bin"
SERVERS = ("db-1", "db-2", "db-3")
#: The machine of the observer and `patronictl`: it sees everything that is not cut off itself.
OUTSIDE = "outside"
PASSWORD = "not-a-secret"
#: A step of a cluster on a busy machine: ttl and the promotion, a clone, a rewind.
STEP_S = 90.0

SERVER = """
scope: coord
name: {name}
restapi: {{listen: "{address}:8008", connect_address: "{address}:8008"}}
etcd3: {{hosts: "{etcd}:2379"}}
bootstrap:
  initdb: [{{encoding: UTF8}}, data-checksums]
  dcs:
{dynamic}
postgresql:
  listen: "{address}:5432"
  connect_address: "{address}:5432"
  data_dir: {home}/data
  bin_dir: {bindir}
  pgpass: {home}/pgpass
  basebackup: [{{checkpoint: fast}}]
  pg_hba:
    - local all all trust
    - host replication replicator {range} scram-sha-256
    - host all all {range} scram-sha-256
  authentication:
    superuser: {{username: postgres, password: {password}}}
    replication: {{username: replicator, password: {password}}}
    rewind: {{username: rewinder, password: {password}}}
  parameters: {{unix_socket_directories: {home}, shared_buffers: 32MB,
               dynamic_shared_memory_type: mmap, wal_retrieve_retry_interval: 500ms}}
"""


def require() -> None:
    """Skip the test where something is not installed, with a word."""
    networks.require()
    missing = [name for name in ("etcd", "haproxy", "pgbouncer") if _found(name) is None]
    if not (PROGRAMS / "patroni").exists():
        missing.append("patroni")
    if missing:
        pytest.skip(f"there is no {', '.join(missing)}: `make patroni` installs it")


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{PATHS}:/usr/bin:/bin")


def shown(language: str) -> str:
    """Return the block of docs/patroni.md that is written in a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return str(block)


@dataclass
class Process:
    """One program on one machine."""

    log: Path
    popen: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL it alone; what it started lives on."""
        self.popen.kill()
        self.popen.wait()


@dataclass
class Cluster:
    """The servers, what leads to them, and the machines that they stand on."""

    net: Network
    home: Path
    synchronous: bool
    processes: dict[str, Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.binaries = find_binaries()
        for machine in (*SERVERS, "etcd", "proxy", OUTSIDE):
            self.net.add(machine)

    def start(self) -> None:
        """Start everything, and make the role and the database of the groups."""
        etcd = self.net.address("etcd")
        own, peers = f"http://{etcd}:2379", f"http://{etcd}:2380"
        options = ["--name", "etcd", "--data-dir", str(self.home_of("etcd") / "etcd")]
        options += ["--listen-client-urls", own, "--advertise-client-urls", own]
        options += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        options += ["--initial-cluster", f"etcd={peers}", "--unsafe-no-fsync"]
        self.run("etcd", "etcd", [str(_found("etcd")), *options])
        self._ctl_file = self.file(
            "outside/patronictl.yml", f'scope: coord\netcd3: {{hosts: "{etcd}:2379"}}\n'
        )
        self.start_patroni("db-1")
        eventually(self.leader, STEP_S, self.story, every_s=0.2)
        for name in SERVERS[1:]:
            self.start_patroni(name)
        with self.connect(str(self.leader()), dbname="postgres") as connection:
            connection.execute(f"CREATE ROLE coord LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE coord OWNER coord")
        self._start_proxies()
        self.wait_whole()

    def start_patroni(self, name: str) -> None:
        """Start the Patroni of a server; it takes on a PostgreSQL that runs there."""
        config = self._configure(name)
        self.run(name, name, [str(PROGRAMS / "patroni"), str(config)])

    def _configure(self, name: str) -> Path:
        dynamic = shown("yaml")
        if not self.synchronous:
            assert "synchronous_mode: true" in dynamic
            dynamic = dynamic.replace("synchronous_mode: true", "synchronous_mode: false")
        text = SERVER.format(
            name=name,
            address=self.net.address(name),
            etcd=self.net.address("etcd"),
            dynamic="".join(f"    {line}\n" for line in dynamic.splitlines()),
            home=self.home_of(name),
            bindir=self.binaries.bindir,
            range=RANGE,
            password=PASSWORD,
        )
        return self.file(f"{name}/patroni.yml", text)

    def _start_proxies(self) -> None:
        haproxy = self.file("proxy/haproxy.cfg", self.placed(shown("haproxy")))
        self.run("haproxy", "proxy", [str(_found("haproxy")), "-f", str(haproxy)])
        users = self.file("proxy/userlist.txt", f'"coord" "{PASSWORD}"\n')
        pooled = shown("ini").replace("/etc/pgbouncer/userlist.txt", str(users))
        pooled += f"unix_socket_dir = {users.parent}\n"
        pgbouncer = self.file("proxy/pgbouncer.ini", pooled)
        self.run("pgbouncer", "proxy", [str(_found("pgbouncer")), str(pgbouncer)])

    def placed(self, text: str) -> str:
        """Put the addresses of the servers in the place of the names on the page."""
        for name in SERVERS:
            text = text.replace(f"{name}.example.org", self.net.address(name))
        assert "example.org" not in text
        return text

    def run(self, name: str, machine: str, command: list[str]) -> None:
        """Start a program on a machine, as the user of the servers."""
        log = self.home_of(machine) / f"{name}.log"
        with log.open("ab") as out, self.net.inside(machine):
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env=environment() | {"LC_ALL": "C.UTF-8"},
                start_new_session=True,
                umask=0o077,
                **ids(self.binaries.account),
            )
        self.processes[name] = Process(log, started)

    def end(self) -> None:
        """Kill whatever runs on the machines."""
        for machine in (*SERVERS, "etcd", "proxy", OUTSIDE):
            self.net.kill_all(machine)
        for process in self.processes.values():
            process.popen.wait()

    def members(self) -> list[dict[str, object]]:
        """Return the members of the cluster as a Patroni tells of them; empty when none answers."""
        for name in SERVERS:
            url = f"http://{self.net.address(name)}:8008/cluster"
            with suppress(OSError, ValueError), self.net.inside(OUTSIDE):
                return list(json.loads(urlopen(url, timeout=2).read())["members"])
        return []

    def leader(self) -> str | None:
        """Return the server that leads and runs."""
        for member in self.members():
            if member["role"] == "leader" and member["state"] == "running":
                return str(member["name"])
        return None

    def replicas(self) -> list[str]:
        """Return the others, the synchronous one first."""
        found = [each for each in self.members() if each["role"] in ("replica", "sync_standby")]
        return [
            str(each["name"]) for each in sorted(found, key=lambda each: str(each["role"]))[::-1]
        ]

    def wait_whole(self) -> str:
        """Wait for a leader with two streaming replicas, a synchronous one if asked; name it."""

        def leads() -> str | None:
            members = self.members()
            states = sorted(str(each["state"]) for each in members)
            roles = {str(each["role"]) for each in members}
            expected = {"leader", "replica"} | ({"sync_standby"} if self.synchronous else set())
            whole = states == ["running", "streaming", "streaming"] and roles == expected
            leader = self.leader() if whole else None
            return leader if leader and self._streams(leader) == 2 else None

        return str(eventually(leads, STEP_S, self.story, every_s=0.2))

    def _streams(self, leader: str) -> int:
        """Count who follows a server at this moment; what Patroni tells is some seconds old."""
        with suppress(psycopg.Error), self.connect(leader) as connection:
            query = "SELECT FROM pg_stat_replication WHERE state = 'streaming'"
            return connection.execute(query).rowcount
        return 0

    def connect(self, name: str, dbname: str = "coord") -> psycopg.Connection[tuple[object, ...]]:
        """Connect to one server by its socket, which no cut touches."""
        where = make_conninfo("", host=str(self.home_of(name)), port="5432", dbname=dbname)
        return psycopg.connect(where, user="postgres", autocommit=True, connect_timeout=2)

    def story(self) -> str:
        """Return the members and the ends of the logs, for a failure's text."""
        told = "".join(f"\n{member}" for member in self.members())
        for process in self.processes.values():
            lines = process.log.read_text(errors="replace").splitlines()[-25:]
            told += "\n--- " + "\n".join([process.log.name, *lines])
        return told

    def ctl(self, *arguments: str) -> str:
        """Run `patronictl`; return what it said."""
        with self.net.inside(OUTSIDE):
            done = subprocess.run(
                [str(PROGRAMS / "patronictl"), "-c", str(self._ctl_file), *arguments],
                capture_output=True,
                text=True,
                timeout=STEP_S,
                stdin=subprocess.DEVNULL,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pg_ctl(self, action: str, name: str) -> None:
        """Run `pg_ctl` on a server, behind Patroni's back."""
        self.binaries.run(["pg_ctl", action, "-D", str(self.home_of(name) / "data"), "-w"])

    def home_of(self, machine: str) -> Path:
        """Return the folder of a machine, which belongs to the user of the servers."""
        path = self.home / machine
        if not path.exists():
            path.mkdir()
            self.binaries.account.give(path, 0o700)
        return path

    def file(self, name: str, text: str) -> Path:
        """Write a file that the user of the servers can read."""
        path = self.home_of(name.partition("/")[0]).parent / name
        path.write_text(text)
        self.binaries.account.give(path, 0o600)
        return path


@contextmanager
def cluster(*, synchronous: bool) -> Iterator[Cluster]:
    """Give a cluster that is whole, and leave nothing of it behind."""
    require()
    with networks.network() as net:
        made = Cluster(net, scratch(), synchronous)
        try:
            made.start()
            yield made
        finally:
            made.end()
            shutil.rmtree(made.home, ignore_errors=True)

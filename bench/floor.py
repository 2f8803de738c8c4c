"""The server that everything is measured on, and the floor: pgbench doing the same there."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.measure import BenchError
from coordinator.store.schema import migrate
from tests.support.servers.postgres import Server

SCHEMA = "coord"
#: So many nodes of a swarm, and some more.
CONNECTIONS_MAX = 1200
END_S = 10.0
_counter = itertools.count(1)

#: One heartbeat as anybody would write it: the row of `client` is made, then updated for ever.
UPSERT = """
INSERT INTO floor (client, beat, at) VALUES (:client_id, 1, clock_timestamp())
ON CONFLICT (client) DO UPDATE SET beat = floor.beat + 1, at = excluded.at;
"""
UPSERT_TABLE = """
CREATE TABLE floor (client int PRIMARY KEY, beat bigint NOT NULL, at timestamptz NOT NULL)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
"""


@dataclass(frozen=True)
class Database:
    """One fresh database."""

    server: Server
    name: str

    @property
    def conninfo(self) -> str:
        return self.server.conninfo(self.name)

    def query(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        return self.server.query(statement, *values, dbname=self.name)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return self.server.connect(self.name)


@contextmanager
def bench_server() -> Iterator[Server]:
    """Give a server of the embedded kind; checkpoints do not fall into a measurement by chance."""
    server = Server.create(
        max_connections=str(CONNECTIONS_MAX),
        shared_buffers="128MB",
        checkpoint_timeout="1d",
        max_wal_size="4GB",
        log_line_prefix="%a|",
    )
    try:
        yield server
    finally:
        server.remove()


def new_database(server: Server, *, migrated: bool = True) -> Database:
    """Create a database, with our schema unless told otherwise."""
    name = f"bench_{os.getpid()}_{next(_counter)}"
    server.query(f"CREATE DATABASE {name}")
    made = Database(server, name)
    if migrated:
        migrate.upgrade(made.conninfo, SCHEMA)
    return made


@contextmanager
def pgbench(
    database: Database,
    script: str,
    *,
    clients: int,
    seconds: float,
    rate: float | None = None,
    application: str = "pgbench",
) -> Iterator[Pgbench]:
    """Run pgbench with prepared statements beside the caller; ended at the end, whatever happens.

    rate: transactions a second over all clients; None for as many as go.
    """
    where = database.server
    program = where.binaries.program("pgbench")
    if not Path(program).exists():
        raise BenchError("there is no pgbench beside the server's programs")
    folder = Path(tempfile.mkdtemp(prefix="coord-bench-"))
    path = folder / "script.sql"
    path.write_text(script)
    command = [program, "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-f", str(path)]
    command += ["-T", str(max(1, round(seconds)))]
    if rate is not None:
        command += ["-R", f"{rate:.3f}"]
    command += ["-h", str(where.sockets), "-p", str(where.port), "-U", "coord"]
    command += [f"dbname={database.name} application_name={application}"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Pgbench(process)
    finally:
        process.kill()
        process.communicate(timeout=END_S)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Pgbench:
    """One run of pgbench that is under way."""

    process: subprocess.Popen[str]

    def tps(self, within_s: float) -> float:
        """Wait for its end and return its transactions a second."""
        said, _ = self.process.communicate(timeout=within_s)
        found = re.search(r"tps = ([0-9.]+)", said)
        if self.process.returncode != 0 or found is None:
            raise BenchError(f"pgbench: {said.strip()[-400:]}")
        return float(found[1])


def backends(server: Server, application: str, database: str | None = None) -> list[int]:
    """Return the pids of the backends that serve an application, in one database or in all."""
    rows = server.query(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        " AND backend_type = 'client backend' AND datname = coalesce(%s, datname)",
        application,
        database,
    )
    return [int(row[0]) for row in rows]

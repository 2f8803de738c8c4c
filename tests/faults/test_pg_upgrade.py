"""pg_upgrade to another major version: terms go on, and nobody takes a token too early."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.store.embedded import server as embedded
from coordinator.store.embedded.binaries import Binaries, environment, find_binaries, ids
from coordinator.store.schema import migrate
from tests.support.nodes.processes import Bed, bed
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.servers.postgres import Server
from tests.support.servers.scratch import scratch

pytestmark = pytest.mark.long
NODES = ("node-1", "node-2")
DEBIAN = Path("/usr/lib/postgresql")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Make two clusters of different majors, the older one running."""
    newest = find_binaries()
    older = sorted(DEBIAN.glob("*/bin/postgres"))
    if not older or not (newest.bindir / "pg_upgrade").exists():
        pytest.skip("pg_upgrade needs two versions of PostgreSQL")
    with monkeypatch.context() as named:
        named.setenv("COORD_PG_BINDIR", str(older[0].parent))
        oldest = find_binaries()
    if oldest.major == newest.major:
        pytest.skip(f"there is PostgreSQL {newest.major} only")
    home = scratch()
    with ExitStack() as stack:
        old, new = (cluster(home, name, it) for name, it in (("old", oldest), ("new", newest)))
        for server in (old, new):
            stack.callback(server.remove)
        old.start()
        migrate.upgrade(old.conninfo(), "public")
        yield old, new


def cluster(home: Path, name: str, binaries: Binaries) -> Server:
    """Create a cluster; without checksums, as the old one has none, and pg_upgrade wants equals."""
    server = Server(home, name, binaries)
    server._make_directories()
    checksums = ["--no-data-checksums"] if int(binaries.major) >= 18 else []
    options = ["-U", embedded.NAME, "-A", "trust", "--encoding=UTF8", "--locale=C", *checksums]
    binaries.run(["initdb", "-D", str(server.data), *options])
    if name == "old":
        made = f"CREATE DATABASE {embedded.NAME}\n"
        binaries.run(["postgres", "--single", "-D", str(server.data), "postgres"], made)
    return server


def upgraded(old: Server, new: Server) -> None:
    """Run pg_upgrade as its guide has it, both servers stopped."""
    done = subprocess.run(
        [
            *(new.binaries.program("pg_upgrade"), "-U", embedded.NAME),
            *("-b", str(old.binaries.bindir), "-B", str(new.binaries.bindir)),
            *("-d", str(old.data), "-D", str(new.data), "-s", str(new.sockets)),
        ],
        cwd=new.sockets,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **ids(new.binaries.account),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def started(group: Bed) -> None:
    for name in NODES:
        group.start(name)


def test_the_upgraded_files_are_another_branch_and_terms_go_on(tmp_path, servers):
    """E3, N1: the old holder is waited out, and the next term is above all earlier ones."""
    old, new = servers
    with bed(tmp_path, old.conninfo(), "public") as group:
        started(group)
        holding = group.wait_for_run()
        group.wait_for_standbys(1)
        group.end()
        old.stop("fast")
        upgraded(old, new)
        new.start()
        began = time.clock_gettime(time.CLOCK_BOOTTIME)

        group.conninfo = new.conninfo()
        started(group)

        after = group.wait_for_run(after=holding.term, within_s=60)
    runs = group.runs()
    assert after.first - began >= group.liveness_s
    assert terms_rise(runs)
    assert overlaps(runs) == []

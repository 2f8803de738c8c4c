"""A dump, restored into another server: it knows a holder that is dead, and no later term."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from coordinator.store.schema import migrate
from tests.support.nodes.processes import Bed, bed
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.servers.postgres import Server

pytestmark = pytest.mark.long
NODES = ("node-1", "node-2")


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        made = [Server.create(), Server.create()]
        for server in made:
            stack.callback(server.remove)
        old, new = made
        if not (old.binaries.bindir / "pg_dump").exists():
            pytest.skip(f"there is no pg_dump in {old.binaries.bindir}")
        migrate.upgrade(old.conninfo(), "public")
        yield old, new


def started(group: Bed, after: int = 0) -> None:
    for name in NODES:
        group.start(name)
    group.wait_for_run(after=after, within_s=60)


@pytest.mark.parametrize("lost", [0, 2], ids=["nothing lost", "two terms lost"])
def test_a_restored_dump_gives_no_term_again_and_no_token_to_the_dead(tmp_path, servers, lost: int):
    """E3, N1: the holder of the dump is waited out; what was granted later is never repeated."""
    old, new = servers
    with bed(tmp_path, old.conninfo(), "public") as group:
        started(group)
        group.wait_for_standbys(1)
        dump = old.binaries.run(["pg_dump", "-d", old.conninfo()])
        holding = group.wait_for_run()
        for _ in range(lost):
            group.nodes[holding.node].process.send_signal(signal.SIGUSR1)
            holding = group.wait_for_run(after=holding.term)
        for node in group.nodes.values():
            node.send(signal.SIGKILL, "all")
        group.end()
        new.binaries.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", new.conninfo()], dump)
        (before,) = new.query("SELECT term, session IS NOT NULL FROM token_holder")
        began = time.clock_gettime(time.CLOCK_BOOTTIME)

        group.conninfo = new.conninfo()
        started(group, after=holding.term)

        after = group.wait_for_run(after=holding.term)
    runs = group.runs()
    assert before == (1, True)
    assert after.first - began >= group.liveness_s
    assert after.term > 10**9  # the server's clock: another branch
    assert terms_rise(runs)
    assert overlaps(runs) == []

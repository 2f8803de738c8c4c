"""The peer that locks with kazoo does what a careful user would have it do."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.measure import until
from bench.peers import zookeeper
from bench.peers.contestants import LIVENESS_S, Wrapped
from bench.peers.entries import ENTRIES, PEERS_PYTHON, ROOT, ZOOKEEPER_LOCK
from tests.support.nodes.processes import eventually
from tests.support.servers.postgres import free_port

START_MAX_S = 20.0


@pytest.fixture
def port() -> int:
    missing = next(entry for entry in ENTRIES if entry.key == "zookeeper").missing()
    if missing:
        pytest.skip(missing)
    return free_port()


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    home = tmp_path / "zookeeper"
    home.mkdir()
    made = zookeeper.start(home, "127.0.0.1", port)
    yield made
    zookeeper.end(made)


@pytest.fixture
def peers(tmp_path: Path, port: int, server: subprocess.Popen[bytes]) -> Iterator[Wrapped]:
    command = (str(ROOT / PEERS_PYTHON), str(ZOOKEEPER_LOCK), f"127.0.0.1:{port}", str(LIVENESS_S))
    made = Wrapped(tmp_path, command)
    yield made
    made.end()


def test_sigterm_ends_the_program_and_hands_the_lock_over(peers):
    peers.start("a")
    old = eventually(peers.tail.running, START_MAX_S, "a runs")[0]
    peers.start("b")

    peers.nodes["a"].terminate()

    new = eventually(lambda: peers.tail.read()[1:], START_MAX_S, "b runs")[0]
    assert peers.nodes["a"].wait(5) != 0, "the program was ended by a signal"
    assert (new.node, old.last < new.first) == ("b", True)


def test_a_node_that_waits_ends_at_sigterm_without_having_run(peers):
    peers.start("a")
    eventually(peers.tail.running, START_MAX_S, "a runs")
    peers.start("b")
    eventually(peers.ready, START_MAX_S, "b has had time to ask for the lock")

    peers.nodes["b"].terminate()

    assert peers.nodes["b"].wait(5) == 0
    assert [run.node for run in peers.tail.running(within_s=0.5)] == ["a"]


def test_the_program_is_killed_before_the_server_may_give_the_lock_away(peers, server):
    """A silent server is what a cut cable looks like; the session would end after LIVENESS_S."""
    peers.start("a")
    eventually(peers.tail.running, START_MAX_S, "a runs")

    server.send_signal(signal.SIGSTOP)

    assert until(lambda: not peers.tail.running(within_s=0.5), LIVENESS_S + 0.5)
    peers.nodes["a"].wait(START_MAX_S)

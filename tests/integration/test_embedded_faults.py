"""The test server's own promises: it crashes, freezes, replicates and is promoted as asked."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.servers import scratch
from tests.support.servers.postgres import Server, wait_until

TIMELINE = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"


@pytest.fixture
def primary() -> Iterator[Server]:
    server = Server.create()
    yield server
    server.remove()


def test_a_killed_server_comes_back_with_what_was_committed(primary: Server):
    primary.query("CREATE TABLE kept AS SELECT 1 AS it")

    primary.kill9()
    with pytest.raises(psycopg.OperationalError):
        primary.connect()
    primary.start()

    assert primary.query("SELECT it FROM kept") == [(1,)]


def test_a_frozen_server_answers_when_it_is_thawed(primary: Server):
    connection = primary.connect()
    primary.freeze()
    connection.pgconn.send_query(b"SELECT 1")
    connection.pgconn.flush()

    assert not readable(connection, 0.1)
    primary.thaw()
    assert readable(connection, 10.0)
    connection.close()


def readable(connection: psycopg.Connection[tuple[object, ...]], timeout_s: float) -> bool:
    return bool(select.select([connection], [], [], timeout_s)[0])


def test_a_synchronous_standby_has_every_commit_and_a_higher_timeline(primary: Server):
    standby = primary.clone_standby(sync=True)
    try:
        primary.query("CREATE TABLE kept AS SELECT 1 AS it")
        primary.kill9()
        standby.promote()

        assert standby.query("SELECT it FROM kept") == [(1,)]
        assert standby.query(TIMELINE) == [("00000002",)]
        standby.query("INSERT INTO kept VALUES (2)")
    finally:
        standby.remove()


def test_an_asynchronous_standby_can_lose_commits(primary: Server):
    primary.query("CREATE TABLE lost (it int)")
    standby = primary.clone_standby()
    try:
        primary.wait_for_standby()
        standby.unfollow()
        primary.query("INSERT INTO lost VALUES (1)")
        primary.kill9()
        standby.promote()

        assert standby.query("SELECT it FROM lost") == []
    finally:
        standby.remove()


def test_nothing_is_left_of_the_servers_of_a_killed_test_run():
    script = (
        "from tests.support.servers.postgres import Server; import time;"
        "s = Server.create(); print(s.pid, s.home, flush=True); time.sleep(60)"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    pid, home = run.stdout.readline().split()

    run.send_signal(signal.SIGKILL)
    run.communicate()

    wait_until(lambda: not alive(int(pid)))
    # As the next run does when it begins.
    scratch.clean_up(Path(home).parents[1])
    assert not Path(home).exists()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return " Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False

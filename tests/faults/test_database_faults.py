"""The database stops, restarts, crashes, is promoted: the program stops in time, or goes on."""

from __future__ import annotations

import signal
import threading

import psycopg
import pytest

from coordinator.store.schema import migrate
from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.servers.postgres import Server


@pytest.fixture
def primary():
    server = Server.create()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def group(tmp_path, primary):
    migrate.upgrade(primary.conninfo(), "public")
    with bed(tmp_path, primary.conninfo(), "public") as made:
        yield made


def pair(group):
    for name in ("node-1", "node-2"):
        group.start(name)
    first = group.wait_for_run()
    group.wait_for_standbys(1)
    return first


def test_an_outage_stops_the_program_and_its_end_starts_it_again(group, primary):
    """T3: without acknowledged heartbeats the program is dead within a lease."""
    first = pair(group)

    primary.stop("immediate")

    eventually(lambda: "this session is over" in group.nodes[first.node].said(), 10, "trust ends")
    stopped = group.runs()
    primary.start()
    second = group.wait_for_run(after=first.term, within_s=15)
    runs = group.runs()
    assert stopped[-1].term == first.term
    assert second.first > stopped[-1].last
    assert overlaps(runs) == []
    assert terms_rise(runs)


def test_a_fast_restart_of_the_database_changes_nothing(group, primary):
    """E1: same timeline, no lost commit: the holder's trust carries it over the restart."""
    group.liveness_s, group.heartbeat_s = 6.0, 0.5
    first = pair(group)

    primary.restart("fast")

    said = lambda: "answers again" in group.nodes[first.node].said()  # noqa: E731
    eventually(said, 10, "the holder reconnects")
    mark = group.runs()[-1].last
    eventually(lambda: group.runs()[-1].last > mark + 1, 5, "the program runs on")
    assert [run.term for run in group.runs()] == [first.term]


@pytest.fixture
def cluster(tmp_path, primary):
    """A group whose nodes know both hosts of a primary and its asynchronous standby."""
    migrate.upgrade(primary.conninfo(), "public")  # before the clock of a test runs
    standby = primary.clone_standby("standby", sync=False)
    hosts = f"host='{primary.sockets},{standby.sockets}' port={primary.port},{standby.port}"
    conninfo = f"{hosts} user=coord dbname=coord target_session_attrs=read-write"
    try:
        with bed(tmp_path, conninfo, "public") as group:
            yield group, primary, standby
    finally:
        standby.remove()


def test_a_holder_whose_trust_never_ran_out_goes_on_after_a_promotion(cluster):
    """E2: the new identity is not settled yet, and the holder renews on it all the same."""
    group, primary, standby = cluster
    group.liveness_s, group.heartbeat_s = 6.0, 0.5
    first = pair(group)
    primary.wait_for_standby()

    primary.kill9()
    standby.promote()

    said = lambda: "answers again" in group.nodes[first.node].said()  # noqa: E731
    eventually(said, 10, "the holder finds the new primary")
    mark = group.runs()[-1].last
    eventually(lambda: group.runs()[-1].last > mark + 1, 5, "the program runs on")
    assert [run.term for run in group.runs()] == [first.term]


def test_a_promotion_that_lost_the_last_takeover_never_repeats_a_term(cluster):
    """E2, E3, N1: nobody acts before the wait, and terms begin anew above all that were lost."""
    group, primary, standby = cluster
    first = pair(group)
    primary.wait_for_standby()
    standby.unfollow()
    group.nodes[first.node].process.terminate()  # from here on the standby misses every commit
    lost = group.wait_for_run(after=first.term)

    primary.kill9()
    standby.promote()

    after = group.wait_for_run(after=lost.term, within_s=20)
    runs = group.runs()
    assert after.term > lost.term > first.term > 10**9  # by the clock, as a copy streams
    assert after.first - lost.last > 0
    assert overlaps(runs) == []
    assert terms_rise(runs)


class IdleLimit:
    """Ends sessions that are idle for longer than `limit_s`, as a firewall or a pooler does."""

    def __init__(self, server: Server, limit_s: float) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(server, limit_s), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def _run(self, server: Server, limit_s: float) -> None:
        idle = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE state = 'idle' AND application_name LIKE 'coord%%'"
            " AND clock_timestamp() > state_change + %s * interval '1 second'"
        )
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            while not self._end.wait(0.02):
                connection.execute(idle, (limit_s,))


def test_an_idle_limit_below_the_heartbeat_hides_no_death(tmp_path, primary):
    """O3: each connection breaks before its second heartbeat; the wait goes on all the same."""
    with bed(tmp_path, primary.conninfo(), "public") as group:
        first = pair(group)
        with IdleLimit(primary, group.heartbeat_s / 3):
            (standby,) = group.standbys(first.node)
            eventually(lambda: "idle limit" in standby.said(), 20, group.story)

            group.nodes[first.node].send(signal.SIGKILL, "all")

            second = group.wait_for_run(after=first.term, within_s=20)
        assert second.node == standby.name
        assert overlaps(group.runs()) == []

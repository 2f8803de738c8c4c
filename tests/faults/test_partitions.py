"""Networks that fail in the ways in which networks do: cut, one-way, half-open, flapping, slow.

Whatever happens, the holder's program is dead before its successor's begins, the successor begins
within the bound, and every node that lost becomes a candidate again.
"""

from __future__ import annotations

import itertools
import signal
import time
from contextlib import ExitStack

import pytest

from coordinator.protocol.rules.timing import lease_of
from coordinator.store.schema import migrate
from tests.support.bounds import within
from tests.support.networks import machines as networks
from tests.support.networks.stalling_proxy import stalling_proxy
from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps, terms_rise

LIVENESS_S, HEARTBEAT_S = 3.0, 0.5
LEASE_S = lease_of(LIVENESS_S)
#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0
BOUND_S = LIVENESS_S + HEARTBEAT_S + 0.1 + MACHINE_S
NAMES = ("node-1", "node-2", "node-3")

_counter = itertools.count(1)


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def said_since(node, words: str):
    """Return a condition: the node says these words once more than it has by now."""
    before = node.said().count(words)
    return lambda: node.said().count(words) > before


def run_on(nodes, for_s: float) -> None:
    """Wait until the running program has recorded so many seconds more."""
    mark = nodes.runs()[-1].last
    eventually(lambda: nodes.runs()[-1].last > mark + for_s, for_s + 5, "the program runs on")


def assert_never_two(nodes) -> None:
    assert overlaps(nodes.runs()) == [], nodes.story()
    assert terms_rise(nodes.runs())


# --- machines and cables --------------------------------------------------------------------------


class Site:
    """A database and three nodes, each on a machine of its own."""

    def __init__(self, net, server) -> None:
        self.net, self.server, self.database = net, server, ""

    def start(self, nodes, *names: str):
        """Start these nodes and wait until one holds and the others stand by."""
        for name in names:
            with self.net.inside(name):
                nodes.start(name)
        first = nodes.wait_for_run()
        nodes.wait_for_standbys(len(nodes.nodes) - 1)
        return first

    def query(self, statement: str, *values: object):
        return self.server.query(statement, *values, dbname=self.database)

    def last_beat_wall(self, node: str) -> float:
        statement = (
            "SELECT extract(epoch FROM last_heartbeat)::float8 FROM health_check WHERE task_id = %s"
        )
        return float(self.query(statement, node)[0][0])


@pytest.fixture(scope="module")
def machines():
    with networks.network() as net, networks.database_machine(net) as server:
        for name in NAMES:
            net.add(name)
        yield Site(net, server)


@pytest.fixture
def site(machines):
    machines.database = f"database_{next(_counter)}"
    networks.new_database(machines.server, machines.database, "root", "password")
    # Before the clock of a test runs.
    migrate.upgrade(machines.server.conninfo(machines.database, user="root"), "public")
    yield machines
    for machine in ("database", *NAMES):
        machines.net.heal(machine)


@pytest.fixture
def nodes(tmp_path, site):
    conninfo = networks.conninfo(site.net, site.database, "root", "password")
    with bed(tmp_path, conninfo, "public") as made:
        made.liveness_s, made.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        yield made


@pytest.mark.parametrize("how", ["cut", "cut_answers", "cut_questions", "unplug"])
def test_a_holder_without_a_network_is_dead_before_its_successor(site, nodes, how):
    """W2, W11, T3: half-open, one-way or unplugged; healed, it is a standby again."""
    first = site.start(nodes, *NAMES)
    cut_at, cut_wall = boottime(), time.time()

    getattr(site.net, how)(first.node)

    second = nodes.wait_for_run(after=first.term)
    beat_wall = site.last_beat_wall(first.node)
    first = nodes.runs()[0]
    within(first.last - cut_at, LEASE_S + 0.1)
    assert first.last < second.first
    within(second.first_wall - beat_wall, BOUND_S)
    if how == "cut_answers":
        assert beat_wall > cut_wall  # a beat was written, and its sender never heard of it
    healed = said_since(nodes.nodes[first.node], f"standby ({second.node} active, term 2)")
    site.net.heal(first.node)
    eventually(healed, 10, lambda: f"{first.node} is a standby again{nodes.story()}")
    assert [run.term for run in nodes.runs()] == [1, 2]
    assert_never_two(nodes)


def test_a_standby_without_a_network_changes_nothing_and_is_a_candidate_again(site, nodes):
    first = site.start(nodes, "node-1", "node-2")
    other = nodes.standbys(first.node)[0]
    lost = said_since(other, "this session is over")

    site.net.cut(other.name)

    eventually(lost, 10, lambda: f"the standby's session ends{nodes.story()}")
    run_on(nodes, LIVENESS_S / 2)
    assert [run.term for run in nodes.runs()] == [1]
    back = said_since(other, "standby (")
    site.net.heal(other.name)
    eventually(back, 10, lambda: f"it is a standby again{nodes.story()}")
    nodes.nodes[first.node].process.terminate()
    second = nodes.wait_for_run(after=first.term)
    assert second.node == other.name
    assert_never_two(nodes)


def test_a_database_without_a_network_stops_the_program_and_comes_back(site, nodes):
    """T3: nobody can be told apart from the dead, so nobody acts; then exactly one does."""
    first = site.start(nodes, "node-1", "node-2")
    lost = [said_since(node, "this session is over") for node in nodes.nodes.values()]
    cut_at = boottime()

    site.net.cut("database")

    eventually(lambda: all(done() for done in lost), 10, lambda: f"both give up{nodes.story()}")
    within(nodes.runs()[-1].last - cut_at, LEASE_S + 0.1)
    site.net.heal("database")
    nodes.wait_for_run(after=first.term)
    run_on(nodes, 1.0)
    assert len(nodes.runs()) == 2
    assert_never_two(nodes)


def test_a_machine_that_dies_half_open_comes_back_under_its_name(site, nodes):
    """W4: the server still believes in the dead node's connection, and that harms nobody."""
    first = site.start(nodes, "node-1", "node-2")
    site.net.cut(first.node)
    nodes.nodes[first.node].send(signal.SIGKILL, "all")
    nodes.nodes[first.node].process.wait(5)

    second = nodes.wait_for_run(after=first.term)

    within(second.first_wall - site.last_beat_wall(first.node), BOUND_S)
    backends = "SELECT 1 FROM pg_stat_activity WHERE client_addr = %s"
    assert site.query(backends, site.net.address(first.node))
    site.net.heal(first.node)
    with site.net.inside(first.node):
        again = nodes.start(first.node)
    eventually(said_since(again, "active, term 2)"), 10, lambda: f"a standby{nodes.story()}")
    assert_never_two(nodes)


@pytest.mark.parametrize(("down_s", "up_s", "times"), [(0.3, 0.3, 9), (1.2, 0.6, 3)])
def test_a_flapping_network_never_makes_two(site, nodes, down_s, up_s, times):
    """Several leases long: the holder keeps the token or loses it cleanly, and all come back."""
    first = site.start(nodes, "node-1", "node-2")

    site.net.flap(first.node, times, down_s, up_s)

    beating = (
        "SELECT count(*) FROM health_check"
        " WHERE ended_at IS NULL AND clock_timestamp() - last_heartbeat < '1 s'"
    )
    eventually(lambda: site.query(beating) == [(2,)], 10, lambda: f"both beat again{nodes.story()}")
    run_on(nodes, 1.0)
    assert_never_two(nodes)


# --- a proxy in the path --------------------------------------------------------------------------


@pytest.fixture
def group(tmp_path, database):
    """A group whose nodes each reach the database through a proxy of their own."""
    with ExitStack() as stack:
        made = stack.enter_context(bed(tmp_path, database.conninfo, database.schema))
        made.liveness_s, made.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        proxies = {name: stack.enter_context(stalling_proxy(database.conninfo)) for name in NAMES}
        yield made, proxies
        for proxy in proxies.values():
            proxy.delay()
            proxy.resume()
        made.end()  # the nodes leave before their proxies do


def start(nodes, proxies, *names: str, **priorities: int):
    for name in names:
        priority = str(priorities.get(name.replace("-", "_"), 1))
        nodes.start(
            name,
            env={"COORD_DATABASE_URL": proxies[name].conninfo, "COORD_PRIORITY": priority},
        )
    first = nodes.wait_for_run()
    nodes.wait_for_standbys(len(nodes.nodes) - 1)
    return first


def last_beat_wall(database, node: str) -> float:
    rows = database.query(
        "SELECT extract(epoch FROM last_heartbeat)::float8 FROM health_check WHERE task_id = %s",
        node,
    )
    return float(str(rows[0][0]))


def test_latency_of_200_ms_each_way_loses_nothing(group, database):
    """T2: trust runs from the question; one round trip of 400 ms is all that a heartbeat needs.

    Whatever it finds: a node joins, and a floor is raised behind everybody's back.
    """
    nodes, proxies = group
    nodes.liveness_s = 2 * LIVENESS_S  # room for a busy machine besides
    first = start(nodes, proxies, "node-1", "node-2")

    for proxy in proxies.values():
        proxy.delay(to_server_s=0.2, to_client_s=0.2)

    run_on(nodes, LIVENESS_S)
    nodes.start("node-3", env={"COORD_DATABASE_URL": database.conninfo})
    run_on(nodes, LIVENESS_S)
    database.query("UPDATE token_holder SET term_floor = term")
    run_on(nodes, LIVENESS_S)
    assert [run.term for run in nodes.runs()] == [first.term]
    assert database.query("SELECT count(*) FROM health_check WHERE ended_at IS NULL") == [(3,)]
    assert "session is over" not in nodes.story()


def test_a_takeover_over_slow_answers_is_late_by_those_answers_alone(group, database):
    nodes, proxies = group
    first = start(nodes, proxies, "node-1", "node-2", "node-3")
    for proxy in proxies.values():
        proxy.delay(to_client_s=0.1)
    run_on(nodes, 2 * HEARTBEAT_S)

    nodes.nodes[first.node].send(signal.SIGKILL, "all")

    second = nodes.wait_for_run(after=first.term)
    waited_s = second.first_wall - last_beat_wall(database, first.node)
    assert waited_s >= LIVENESS_S
    within(waited_s, BOUND_S + 1.0)  # a race of some ten answers
    assert_never_two(nodes)


def test_a_standby_on_a_slow_path_connects_again(group):
    """To connect takes more round trips than to beat, so it is given more time."""
    nodes, proxies = group
    first = start(nodes, proxies, "node-1", "node-2")
    other = nodes.standbys(first.node)[0]
    proxies[other.name].delay(to_server_s=0.06, to_client_s=0.06)

    for _ in range(2):
        back = said_since(other, "answers again")
        proxies[other.name].reset()
        eventually(back, 30, lambda: f"it is back{nodes.story()}")

    nodes.nodes[first.node].process.terminate()
    assert nodes.wait_for_run(after=first.term).node == other.name


def test_a_path_that_stalls_longer_than_the_lease_ends_the_holder_for_good(group, database):
    """T3: what was stalled arrives in the end, and revives nothing."""
    nodes, proxies = group
    first = start(nodes, proxies, "node-1", "node-2")
    node = nodes.nodes[first.node]
    stalled_at = boottime()

    proxies[first.node].stall()

    second = nodes.wait_for_run(after=first.term)
    within(nodes.runs()[0].last - stalled_at, LEASE_S + 0.1)
    within(second.first_wall - last_beat_wall(database, first.node), BOUND_S)
    back = said_since(node, f"standby ({second.node} active, term 2)")
    proxies[first.node].resume()
    eventually(back, 10, lambda: f"{first.node} is a standby again{nodes.story()}")
    run_on(nodes, 1.0)
    assert [run.term for run in nodes.runs()] == [1, 2]
    assert_never_two(nodes)


def test_reset_connections_lose_nothing(group):
    """A firewall that forgets its connections, several times within a lease."""
    nodes, proxies = group
    first = start(nodes, proxies, "node-1", "node-2")

    for _ in range(4):
        back = [said_since(node, "answers again") for node in nodes.nodes.values()]
        for proxy in proxies.values():
            proxy.reset()
        eventually(lambda back=back: all(done() for done in back), 5, nodes.story)
        # A connection that outlives a heartbeat is no sign of an idle limit (O3).
        run_on(nodes, 3 * HEARTBEAT_S)

    assert [run.term for run in nodes.runs()] == [first.term]


def test_a_taker_that_never_hears_of_its_commit_reads_the_token_again(group, database):
    """E5: the commit happened, its answer did not come; nobody starts under another term."""
    nodes, proxies = group
    first = start(nodes, proxies, "node-1")
    start(nodes, proxies, "node-2")
    proxies["node-2"].stall_before(("to_server", b"coord_take"), ("to_client", b"COMMIT\0"))

    nodes.nodes[first.node].process.terminate()

    eventually(
        lambda: proxies["node-2"].stalled, 10, lambda: f"the commit is answered{nodes.story()}"
    )
    taken = "SELECT task_id, term FROM token_holder"
    eventually(lambda: database.query(taken) == [("node-2", 2)], 5, "the token is taken")
    assert len(nodes.runs()) == 1
    proxies["node-2"].resume()
    second = nodes.wait_for_run(after=first.term)
    assert (second.node, second.term) == ("node-2", 2)
    assert_never_two(nodes)


def test_a_taker_that_is_cut_off_within_its_race_does_not_hold_up_the_next(group, database):
    """Its lock is free after its own limit; the node that met the lock looks on once more (O3)."""
    nodes, proxies = group
    first = start(nodes, proxies, "node-1")
    start(nodes, proxies, "node-2", "node-3", node_2=2)
    run_on(nodes, 3 * HEARTBEAT_S)  # all know by now who is first in line
    proxies["node-2"].stall_before(("to_server", b"coord_take"), ("to_server", b"COMMIT"))

    nodes.nodes[first.node].send(signal.SIGKILL, "all")

    second = nodes.wait_for_run(after=first.term)
    waited_s = second.first_wall - last_beat_wall(database, first.node)
    if not proxies["node-2"].stalled:
        pytest.skip("on this busy machine node-3 was faster than the first in line")
    assert second.node == "node-3"
    within(waited_s, BOUND_S + LIVENESS_S)
    resumed_at = database.query("SELECT clock_timestamp()")[0][0]
    proxies["node-2"].resume()
    # By the row, not by its log: a session that lived through it says nothing new.
    beats = "SELECT 1 FROM health_check WHERE task_id = 'node-2' AND last_heartbeat > %s"
    eventually(
        lambda: database.query(f"{beats} AND ended_at IS NULL", resumed_at), 10, "node-2 is back"
    )
    assert_never_two(nodes)

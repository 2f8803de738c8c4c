"""A primary and its standby: promoted too soon, cancelled, come back, restored, both alive.

With synchronous replication nobody ever overlaps. When two primaries acknowledge, time cannot help:
then the fence keeps each database right, the nodes tell, and how long two ran is measured.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest
from psycopg.conninfo import make_conninfo

from coordinator.errors import TokenLostError
from coordinator.protocol.rules.timing import lease_of
from coordinator.store.program.fenced_transaction import fenced_transaction
from tests.support.bounds import within
from tests.support.networks.stalling_proxy import stalling_proxy
from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.servers.postgres import Server, wait_until

LIVENESS_S, HEARTBEAT_S = 2.0, 0.4
LEASE_S = lease_of(LIVENESS_S)
#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0
GROUP = "orders"


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def said_since(node, words: str):
    """Return a condition: the node says these words once more than it has by now."""
    before = node.said().count(words)
    return lambda: node.said().count(words) > before


def run_on(group, for_s: float) -> None:
    """Wait until the running program has recorded so many seconds more."""
    mark = group.runs()[-1].last
    eventually(lambda: group.runs()[-1].last > mark + for_s, for_s + 5, "the program runs on")


def settled_s(group) -> float:
    """From a promotion to a new holder: nodes find the new primary and then wait as E3 says."""
    return group.liveness_s + 2 * group.heartbeat_s + 0.1 + MACHINE_S


def assert_never_two(group) -> None:
    assert overlaps(group.runs()) == [], group.story()
    assert terms_rise(group.runs())


def hosts(*servers: Server) -> str:
    """Name several servers in one conninfo, in the order in which they are tried."""
    paths = ",".join(str(server.sockets) for server in servers)
    ports = ",".join(str(server.port) for server in servers)
    return f"host='{paths}' port={ports} user=coord dbname=coord target_session_attrs=read-write"


class Pair:
    """A primary, its standby, and a group of nodes that know both."""

    def __init__(self, group, primary: Server, standby: Server) -> None:
        self.group, self.primary, self.standby = group, primary, standby

    def start(self, *names: str):
        for name in names or ("node-1", "node-2"):
            self.group.start(name)
        first = self.group.wait_for_run()
        self.group.wait_for_standbys(len(self.group.nodes) - 1)
        self.primary.wait_for_standby()
        return first

    def receiver(self) -> int:
        """Return the process of the standby that takes in what the primary sends."""
        ((pid,),) = self.standby.query("SELECT pid FROM pg_stat_wal_receiver")
        return int(pid)


@contextmanager
def pair(tmp_path, *, sync: bool):
    with ExitStack() as stack:
        # Else a promotion takes five seconds when it meets the end of the primary.
        primary = Server.create(tcp=True, wal_retrieve_retry_interval="100ms")
        stack.callback(primary.remove)
        standby = primary.clone_standby(sync=sync)
        stack.callback(standby.remove)
        group = stack.enter_context(bed(tmp_path, hosts(primary, standby), "public"))
        group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        yield Pair(group, primary, standby)


@pytest.fixture
def synchronous(tmp_path):
    with pair(tmp_path, sync=True) as made:
        yield made


@pytest.fixture
def asynchronous(tmp_path):
    with pair(tmp_path, sync=False) as made:
        yield made


# --- synchronous ----------------------------------------------------------------------------------

#: Holds a takeover at the moment at which its history is written; nothing later but the commit.
GATE = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;
CREATE TRIGGER gate AFTER INSERT ON token_history FOR EACH ROW EXECUTE FUNCTION gate();
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = %s"


@pytest.mark.parametrize("when", ["its transaction is open", "its commit waits for the standby"])
def test_a_promotion_while_a_takeover_is_under_way(synchronous, when):
    """E2, E3, E5: the taker does not know what became of it, and nobody acts before the wait."""
    group, primary, standby = synchronous.group, synchronous.primary, synchronous.standby
    group.liveness_s = 2.4  # room to look at a race while it lasts
    first = synchronous.start()
    primary.query(GATE)
    primary.wait_for_standby()

    with primary.connect() as keeper:
        keeper.execute("SELECT pg_advisory_lock(4711)")
        group.nodes[first.node].send(signal.SIGKILL, "all")
        wait_until(lambda: keeper.execute(WAITING, ["advisory"]).fetchone() == (1,), 15)
        receiver = synchronous.receiver()
        if when == "its commit waits for the standby":
            os.kill(receiver, signal.SIGSTOP)
            keeper.execute("SELECT pg_advisory_unlock(4711)")
            wait_until(lambda: waits_for_standby(keeper), 5)
        primary.kill9()
    promoted_at = boottime()
    with suppress(ProcessLookupError):  # it ends with its connection, unless it was stopped
        os.kill(receiver, signal.SIGCONT)
    standby.promote()

    second = group.wait_for_run(after=first.term, within_s=settled_s(group) + 5)
    run_on(group, 0.5)
    print(f"\ntakeover under way; a holder {second.first - promoted_at:.2f} s after the promotion")
    assert second.first - promoted_at >= group.liveness_s, group.story()
    within(second.first - promoted_at, settled_s(group))
    # Either the takeover got through to the standby, or it was lost with the old primary.
    assert second.term == first.term + 1 or second.term > 10**9
    assert_never_two(group)


def waits_for_standby(keeper) -> bool:
    row = keeper.execute(WAITING, ["SyncRep"]).fetchone()
    return bool(row[0])


def test_a_cancelled_wait_for_the_standby_renews_no_trust(synchronous):
    """E5: the commits are visible and reported as done, and count for nothing."""
    group, primary = synchronous.group, synchronous.primary
    first = synchronous.start()
    receiver = synchronous.receiver()
    beats = "SELECT beat FROM health_check WHERE task_id = %s"
    ((before,),) = primary.query(beats, first.node)

    with primary.connect() as administrator:
        os.kill(receiver, signal.SIGSTOP)
        stopped_at = boottime()
        over = said_since(group.nodes[first.node], "this session is over")
        try:
            eventually(lambda: cancel_waits(administrator) and over(), 10, group.story())
        finally:
            os.kill(receiver, signal.SIGCONT)

    ran_s = group.runs()[-1].last - stopped_at
    ((after,),) = primary.query(beats, first.node)
    print(f"\n{after - before} cancelled heartbeats; the program ran on for {ran_s:.2f} s")
    assert after > before
    within(ran_s, LEASE_S + 0.1)
    group.wait_for_run(after=first.term, within_s=LIVENESS_S + 5)
    assert_never_two(group)


def cancel_waits(administrator) -> bool:
    """Cancel whatever waits for the standby at this moment; always true."""
    administrator.execute(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
    return True


def test_an_old_primary_without_its_standby_acknowledges_nothing(synchronous):
    """A node that knows the old primary alone, and never sees the new one, stops in time too."""
    group, primary, standby = synchronous.group, synchronous.primary, synchronous.standby
    group.start("node-1", env={"COORD_DATABASE_URL": primary.conninfo()})
    first = group.wait_for_run()
    other = make_conninfo(hosts(standby, primary), application_name="node-2")
    group.start("node-2", env={"COORD_DATABASE_URL": other})
    group.wait_for_standbys(1)
    primary.wait_for_standby()

    promoted_at = boottime()
    standby.promote()

    moved(primary, "node-2", standby)
    second = group.wait_for_run(after=first.term, within_s=settled_s(group) + 5)
    run_on(group, 0.5)
    ran_s = group.runs()[0].last - promoted_at
    print(f"\nthe old holder ran on for {ran_s:.2f} s; the new one began {second.term=}")
    assert second.node == "node-2"
    within(ran_s, LEASE_S + 0.1)
    assert_never_two(group)


def moved(old: Server, name: str, new: Server) -> None:
    """End a node's connections at the old primary until it has one at the new one."""
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = %s AND backend_type = 'client backend'"
    )
    there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"

    def arrived() -> bool:
        old.query(ended, name)
        return bool(new.query(there, name)[0][0])

    wait_until(arrived, 10)


# --- branches -------------------------------------------------------------------------------------


def test_an_old_primary_that_comes_back_is_left_alone(asynchronous):
    """E4: the nodes meet it each time that they connect, and stay where they are."""
    group, primary, standby = asynchronous.group, asynchronous.primary, asynchronous.standby
    group.liveness_s = 3.0
    first = asynchronous.start()
    back = [said_since(node, "answers again") for node in group.nodes.values()]
    primary.kill9()
    standby.promote()
    eventually(lambda: all(done() for done in back), 5, lambda: f"all are back{group.story()}")
    wait_until(lambda: settled(standby), 10)

    primary.start()
    for _ in range(3):
        back = [said_since(node, "answers again") for node in group.nodes.values()]
        standby.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'coord' AND pid <> pg_backend_pid()"
        )
        eventually(
            lambda back=back: all(done() for done in back), 5, lambda: f"back{group.story()}"
        )

    run_on(group, 1.0)
    assert [run.term for run in group.runs()] == [first.term]
    assert "was left behind by one on timeline 2" in group.story()
    assert primary.query("SELECT term FROM token_holder") == [(first.term,)]
    group.nodes[first.node].process.terminate()
    second = group.wait_for_run(after=first.term)
    assert second.term > 10**9
    assert_never_two(group)


def settled(server: Server) -> bool:
    statement = "SELECT waited_ms > 0 FROM database_epoch WHERE timeline = 2"
    return server.query(statement) == [(True,)]


def test_a_backup_that_is_restored_knows_nothing_of_later_terms(tmp_path):
    """E3, N1, N3: a copy of the files, started on a new timeline after two more holdings."""
    with ExitStack() as stack:
        server = Server.create()
        stack.callback(server.remove)
        group = stack.enter_context(bed(tmp_path, server.conninfo(), "public"))
        group.liveness_s, group.heartbeat_s = 2.0, 0.4
        for name in ("node-1", "node-2"):
            group.start(name)
        holding = group.wait_for_run()
        group.wait_for_standbys(1)
        backup = server.data.with_name("backup")
        copy_files(server, backup)
        for _ in range(2):
            group.nodes[holding.node].process.send_signal(signal.SIGUSR1)
            holding = group.wait_for_run(after=holding.term)

        restored_at = restore(server, backup)

        after = group.wait_for_run(after=holding.term, within_s=15)
        run_on(group, 0.5)
        waited = "SELECT timeline FROM database_epoch WHERE settled OR waited_ms > 0"
        assert sorted(server.query(waited)) == [(1,), (2,)]
        print(f"\nrestored; a holder after {after.first - restored_at:.2f} s, term {after.term}")
        assert after.term > 10**9
        assert after.first - restored_at >= group.liveness_s
        assert_never_two(group)


def copy_files(server: Server, to) -> None:
    """Take a backup while the server is down for a moment, which nobody loses a token for."""
    server.stop("fast")
    shutil.copytree(server.data, to, symlinks=True)
    server.start()


def restore(server: Server, backup) -> float:
    """Put a backup in the place of the server's files, as a new timeline; return when it was up."""
    server.stop("fast")
    shutil.rmtree(server.data)
    backup.rename(server.data)
    (server.data / "recovery.signal").touch()
    with (server.data / "postgresql.auto.conf").open("a") as conf:
        conf.write("restore_command = '/bin/false'\n")
    for path in (server.data, *server.data.rglob("*")):
        owner = server.binaries.account.switch_to
        if owner is not None:
            os.chown(path, *owner, follow_symlinks=False)
    server.start()
    wait_until(lambda: server.query("SELECT pg_is_in_recovery()") == [(False,)])
    return boottime()


# --- two primaries --------------------------------------------------------------------------------


class Writer:
    """Somebody who writes with a holding under the fence, at a server of his choice."""

    def __init__(self, term: int, session: str) -> None:
        self.term, self.session = term, session

    def writes(self, server: Server) -> bool:
        """Write, and tell whether the fence let it through."""
        try:
            with fenced_transaction(
                server.conninfo(), "public", GROUP, self.term, self.session
            ) as connection:
                connection.exec_driver_sql(f"INSERT INTO ledger (term) VALUES ({self.term})")
        except TokenLostError:
            return False
        return True


def holding(server: Server) -> Writer:
    ((term, session),) = server.query("SELECT term, session::text FROM token_holder")
    return Writer(int(term), str(session))


def assert_written_in_order(server: Server) -> None:
    """Once a newer term has written, no older one has: the effect that only the fence can give."""
    terms = [term for (term,) in server.query("SELECT term FROM ledger ORDER BY id")]
    assert terms == sorted(terms)


LEDGER = "CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY, term bigint)"


def split(both: Pair, proxy) -> object:
    """Start a holder at the old primary that cannot see the new one, and a standby; promote."""
    group, primary, standby = both.group, both.primary, both.standby
    group.start("node-1", env={"COORD_DATABASE_URL": behind(primary, proxy)})
    first = group.wait_for_run()
    other = make_conninfo(hosts(standby, primary), application_name="node-2")
    group.start("node-2", env={"COORD_DATABASE_URL": other})
    group.wait_for_standbys(1)
    primary.query(LEDGER)
    primary.wait_for_standby()
    standby.unfollow()
    proxy.stall()
    standby.promote()
    return first


def behind(primary: Server, proxy) -> str:
    """Name the primary, and the standby through a proxy."""
    return (
        f"host=127.0.0.1,127.0.0.1 port={primary.port},{proxy.port} user=coord dbname=coord"
        " target_session_attrs=read-write"
    )


def test_two_primaries_with_the_hosts_reversed_on_half_of_the_nodes(asynchronous):
    """E4, F1: one node cannot see the newer primary; two run until it can, and no write is wrong.

    How long two ran is the length of that blindness and one look; no clock can bound it.
    """
    group, primary, standby = asynchronous.group, asynchronous.primary, asynchronous.standby
    with stalling_proxy(standby.conninfo(tcp=True)) as proxy:
        first = split(asynchronous, proxy)
        old = holding(primary)
        assert old.writes(primary)
        # The new primary does not know better before its own takeover.
        assert old.writes(standby) or holding(standby).term > old.term

        moved(primary, "node-2", standby)
        second = group.wait_for_run(after=first.term, within_s=settled_s(group) + 5)
        new = holding(standby)
        assert (second.node, second.term) == ("node-2", new.term)
        assert new.writes(standby)
        assert not old.writes(standby)
        assert old.writes(primary)
        assert not new.writes(primary)

        told = said_since(group.nodes["node-1"], "two primaries")
        run_on(group, 1.0)
        seeing_at = boottime()
        proxy.resume()
        eventually(told, 15, lambda: f"it sees the newer primary{group.story()}")
        looked_s = boottime() - seeing_at

        standby_again = said_since(
            group.nodes["node-1"], f"standby (node-2 active, term {new.term}"
        )
        eventually(standby_again, 10, lambda: f"it stands by on the newer one{group.story()}")
        runs = group.runs()
        together = overlaps(runs)
        overlap_s = sum(one.last - other.first for one, other in together)
        print(f"\ntwo primaries: two programs for {overlap_s:.2f} s,", end=" ")
        print(f"of them {looked_s:.2f} s after the newer one could be seen")
        assert [(one.node, other.node) for one, other in together] == [("node-1", "node-2")]
        within(runs[0].last - seeing_at, LIVENESS_S / 2 + 2 + MACHINE_S)
        assert terms_rise(runs)
        assert re.search(r"two primaries: another server takes writes on timeline 2", group.story())
        for server in (primary, standby):
            assert_written_in_order(server)


def test_two_primaries_that_everybody_can_see_run_no_two_programs(asynchronous):
    """E4: the look at the other hosts comes sooner than the end of the wait on a new identity."""
    group, primary, standby = asynchronous.group, asynchronous.primary, asynchronous.standby
    group.liveness_s, group.heartbeat_s = 2.0, 0.6
    group.start("node-1", env={"COORD_DATABASE_URL": hosts(primary, standby)})
    first = group.wait_for_run()
    other = make_conninfo(hosts(standby, primary), application_name="node-2")
    group.start("node-2", env={"COORD_DATABASE_URL": other})
    group.wait_for_standbys(1)
    primary.wait_for_standby()
    standby.unfollow()

    promoted_at = boottime()
    standby.promote()
    moved(primary, "node-2", standby)

    assert first.node == "node-1"
    second = group.wait_for_run(after=10**9, within_s=settled_s(group) + 10)
    run_on(group, 0.5)
    print(f"\nthe old holder ran on for {group.runs()[0].last - promoted_at:.2f} s;", end=" ")
    print(f"a new one began after {second.first - promoted_at:.2f} s")
    assert "two primaries" in group.nodes["node-1"].said()
    assert second.first - promoted_at >= group.liveness_s
    assert_never_two(group)

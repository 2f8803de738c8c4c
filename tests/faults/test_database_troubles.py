"""A server that crashes, is full, locked, overrun or refuses to serialize, under real nodes.

Each trouble is made and healed. While it lasts the program runs on or is stopped in time; nobody
starts a second one; terms rise; and at most one wait after the healing somebody holds again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest

from coordinator.protocol.rules.timing import lease_of
from coordinator.store.connection.opening import STATEMENT_S
from tests.support.bounds import within
from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.servers.postgres import Server
from tests.support.servers.scratch import scratch

#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0
LIVENESS_S, HEARTBEAT_S = 2.0, 0.4
GROUP = "orders"


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.fixture
def primary() -> Iterator[Server]:
    server = Server.create()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def group(tmp_path, primary):
    with bed(tmp_path, primary.conninfo(), "public") as made:
        made.liveness_s, made.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        yield made


def started(group, *names: str):
    for name in names or ("node-1", "node-2"):
        group.start(name)
    first = group.wait_for_run()
    group.wait_for_standbys(len(group.nodes) - 1)
    return first


def bound_s(group) -> float:
    return group.liveness_s + group.heartbeat_s + 0.1 + MACHINE_S


def said_since(node, words: str):
    """Return a condition: the node says these words once more than it has by now."""
    before = node.said().count(words)
    return lambda: node.said().count(words) > before


def held_again(group, healed_at: float) -> float:
    """Wait until a program runs; return the seconds since the healing."""
    last = lambda: group.runs()[-1]  # noqa: E731
    eventually(
        lambda: last().last > healed_at, bound_s(group) + 5, lambda: f"a holder{group.story()}"
    )
    mark = last().last
    eventually(lambda: last().last > mark + 0.3, 5, "it stays")
    return max(0.0, last().first - healed_at)


def assert_healed(group, healed_at: float) -> None:
    """Never two, terms that rise, and somebody holds again within the bound."""
    waited_s = held_again(group, healed_at)

    print(f"\na holder {waited_s:.2f} s after the healing (bound {bound_s(group):.1f} s)")
    within(waited_s, bound_s(group), group.story())
    assert overlaps(group.runs()) == [], group.story()
    assert terms_rise(group.runs())


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill -9", "immediate"])
def test_a_server_that_crashes_and_recovers_has_lost_nothing(group, primary, how):
    """E6: what was acknowledged is there after the recovery, so the holder may go on."""
    group.liveness_s = 6.0
    first = started(group)

    for _ in range(2):
        back = [said_since(node, "answers again") for node in group.nodes.values()]
        if how == "immediate":
            primary.stop("immediate")
        else:
            primary.kill9()
        primary.start()
        healed_at = boottime()
        eventually(lambda back=back: all(done() for done in back), 5, "all are back")
        assert_healed(group, healed_at)

    assert [run.term for run in group.runs()] == [first.term]


def test_a_crash_with_an_outage_longer_than_the_lease(group, primary):
    """T3: the program is dead a lease after the last acknowledged heartbeat, and comes back."""
    first = started(group)
    killed_at = boottime()

    primary.kill9()

    eventually(lambda: "this session is over" in group.nodes[first.node].said(), 10, "trust ends")
    within(group.runs()[-1].last - killed_at, lease_of(group.liveness_s) + 0.1)
    primary.start()
    healed_at = boottime()
    group.wait_for_run(after=first.term)
    assert_healed(group, healed_at)


def test_terminated_backends_are_replaced_within_the_lease(group, primary):
    """An administrator ends every connection, again and again."""
    first = started(group)

    for _ in range(4):
        back = [said_since(node, "answers again") for node in group.nodes.values()]
        ended = primary.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'coord' AND pid <> pg_backend_pid()"
        )
        assert ended[0][0] >= 2
        eventually(
            lambda back=back: all(done() for done in back), 15, lambda: f"back{group.story()}"
        )
        # A connection that outlives some heartbeats is no sign of an idle limit (O3).
        due = group.runs()[-1].last + 3 * HEARTBEAT_S
        eventually(lambda due=due: group.runs()[-1].last > due, 15, "the program runs on")

    assert_healed(group, boottime())
    assert [run.term for run in group.runs()] == [first.term]


def test_a_backend_killed_by_the_kernel_makes_the_server_restart(group, primary):
    """SIGKILL of one backend: the postmaster ends all of them and recovers from the log."""
    first = started(group)
    ((victim,),) = primary.query(
        "SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'coord'"
    )
    back = [said_since(node, "answers again") for node in group.nodes.values()]

    os.kill(victim, signal.SIGKILL)

    eventually(lambda: all(done() for done in back), 10, lambda: f"all are back{group.story()}")
    healed_at = boottime()
    assert_healed(group, healed_at)
    assert [run.term for run in group.runs()] == [first.term]


# --- no room --------------------------------------------------------------------------------------


@contextmanager
def small_disk(size: str) -> Iterator:
    """Mount a small disk for a server's directory; skip where nothing can be mounted."""
    if os.geteuid() != 0:
        _cannot("a small disk can be mounted by root alone")
    home = scratch()
    options = ["-t", "tmpfs", "-o", f"size={size},mode=711", "coord-small-disk", str(home)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True)
    if done.returncode != 0:
        home.rmdir()
        _cannot(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield home
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)
        with suppress(OSError):
            home.rmdir()


def _cannot(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def test_a_full_disk_stops_the_program_in_time_and_loses_no_term(tmp_path):
    """The log cannot be written: PostgreSQL gives up, and does not start until there is room."""
    with ExitStack() as stack:
        home = stack.enter_context(small_disk("160m"))
        primary = Server.create(home, wal_keep_size="1GB")
        stack.callback(primary.remove)
        group = stack.enter_context(bed(tmp_path, primary.conninfo(), "public"))
        group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        first = started(group)

        filler = home / "filler"
        full_at = fill_the_log(primary, filler)

        over = lambda: "this session is over" in group.nodes[first.node].said()  # noqa: E731
        eventually(over, 10, lambda: f"trust ends{group.story()}")
        within(group.runs()[-1].last - full_at, lease_of(group.liveness_s) + 0.1 + MACHINE_S)
        filler.unlink()
        primary.stop("immediate")  # what is left of it, so that its end is known
        primary.start()
        healed_at = boottime()
        assert_healed(group, healed_at)
        assert group.runs()[-1].term > first.term


def fill_the_log(primary: Server, filler) -> float:
    """Leave no room for another segment of the log, and use up what there is; return when."""
    free = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (free.f_bavail - 16) * free.f_frsize)
    with suppress(psycopg.Error):
        # Each switch needs a new segment; the first one without room is the server's end.
        for _ in range(20):
            primary.query("SELECT pg_switch_wal()")
            primary.query("CREATE TABLE IF NOT EXISTS something (at timestamptz)")
            primary.query("INSERT INTO something VALUES (now())")
    assert "No space left on device" in primary.log.read_text()
    return boottime()


class Crowd:
    """Clients that take every connection there is, the moment that it is free."""

    def __init__(self, primary: Server) -> None:
        self._primary, self._over = primary, threading.Event()
        self._taken: list[psycopg.Connection[tuple[object, ...]]] = []
        self._threads = [threading.Thread(target=self._push) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        for connection in self._taken:
            connection.close()

    def _push(self) -> None:
        while not self._over.wait(0.001):
            with suppress(psycopg.OperationalError):
                self._taken.append(self._primary.connect())


def end_connections(admin, name: str) -> None:
    """End a node's connections until it gets no new one for longer than it waits between tries."""
    statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    seen_at = boottime()

    def crowded_out() -> bool:
        nonlocal seen_at
        if admin.execute(statement, [name]).fetchall():
            seen_at = boottime()
        return boottime() - seen_at > 2 * HEARTBEAT_S

    eventually(crowded_out, 10, "the node finds no room")


def test_a_holder_that_gets_no_connection_any_more_is_replaced(tmp_path):
    """max_connections: somebody else was faster; the standby has a connection, and is enough."""
    with ExitStack() as stack:
        primary = Server.create(max_connections="12")
        stack.callback(primary.remove)
        group = stack.enter_context(bed(tmp_path, primary.conninfo(), "public"))
        group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        for name in ("node-1", "node-2"):
            url = primary.conninfo(application_name=name)
            group.start(name, env={"COORD_DATABASE_URL": url})
        first = group.wait_for_run()
        group.wait_for_standbys(1)
        holder, other = group.nodes[first.node], group.standbys(first.node)[0]
        admin = stack.enter_context(primary.connect())
        crowd = Crowd(primary)
        stack.callback(crowd.leave)

        end_connections(admin, holder.name)

        second = group.wait_for_run(after=first.term)
        assert second.node == other.name
        assert "this session is over" in holder.said()
        crowd.leave()
        healed_at = boottime()
        back = said_since(holder, f"standby ({second.node} active")
        eventually(back, 10, lambda: f"it is a standby again{group.story()}")
        assert_healed(group, healed_at)


# --- locks and limits -----------------------------------------------------------------------------


def test_a_lock_on_the_token_row_does_not_disturb_its_holder(group, primary):
    """F1: heartbeats never touch that row; a takeover has to wait until somebody lets it go."""
    first = started(group)

    with primary.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM token_holder WHERE group_id = %s FOR UPDATE", [GROUP])
        mark = group.runs()[-1].last
        eventually(
            lambda: group.runs()[-1].last > mark + 2 * HEARTBEAT_S, 10, "the program runs on"
        )
        assert [run.term for run in group.runs()] == [first.term]

        group.nodes[first.node].send(signal.SIGKILL, "all")
        dead_at = boottime()
        eventually(lambda: boottime() > dead_at + LIVENESS_S + 0.5, 10, "it is due")
        assert [run.term for run in group.runs()] == [first.term]
        other.execute("ROLLBACK")

    healed_at = boottime()
    group.wait_for_run(after=first.term)
    assert_healed(group, healed_at)


def test_a_frozen_fenced_transaction_of_a_dead_holder_is_ended_by_the_takeover(group, primary):
    """F2: its client neither commits nor goes away; the takeover is not held up, and it is."""
    first = started(group)
    with primary.connect() as frozen:
        ((session,),) = primary.query("SELECT session FROM token_holder")
        frozen.execute("CREATE TABLE ledger (term bigint)")
        frozen.execute("BEGIN")
        frozen.execute("SELECT coord_fence(%s, %s, %s)", [GROUP, first.term, session])
        frozen.execute("INSERT INTO ledger VALUES (%s)", [first.term])

        group.nodes[first.node].send(signal.SIGKILL, "all")
        dead_at = boottime()

        second = group.wait_for_run(after=first.term)
        within(second.first - dead_at, bound_s(group))
        with pytest.raises(psycopg.OperationalError, match="terminat"):
            frozen.execute("COMMIT")
    assert primary.query("SELECT * FROM ledger") == []
    assert_healed(group, dead_at)


SLOW = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
CREATE TRIGGER dawdle BEFORE UPDATE ON health_check FOR EACH ROW EXECUTE FUNCTION dawdle();
"""


def test_statements_that_take_longer_than_their_limit_end_the_holder_in_time(group, primary):
    """Their askers give them up in time; the server ends what was left behind a little later."""
    first = started(group)
    slow_at = boottime()

    primary.query(SLOW)

    over = lambda: "this session is over" in group.nodes[first.node].said()  # noqa: E731
    eventually(over, 10, lambda: f"trust ends{group.story()}")
    within(group.runs()[-1].last - slow_at, lease_of(group.liveness_s) + 0.1)
    assert "no answer in time" in group.story()
    primary.query("DROP TRIGGER dawdle ON health_check")  # waits for those, which hold its table
    within(boottime() - slow_at, 2 * STATEMENT_S)
    assert_healed(group, boottime())
    hanging = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    assert primary.query(hanging) == [(0,)]


class Storm:
    """Clients that read the token table and write its row, SERIALIZABLE, as fast as they can."""

    def __init__(self, primary: Server, count: int) -> None:
        self._primary, self._over = primary, threading.Event()
        self.refused = self.committed = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._rage) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)

    def _rage(self) -> None:
        with self._primary.connect() as connection:
            while not self._over.wait(0.001):
                try:
                    self._once(connection)
                except psycopg.errors.SerializationFailure:
                    connection.execute("ROLLBACK")
                    self._count(refused=1)
                else:
                    self._count(committed=1)

    @staticmethod
    def _once(connection) -> None:
        connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        connection.execute("SELECT sum(term) FROM token_holder")
        connection.execute("SELECT sum(beat) FROM health_check")
        connection.execute("UPDATE token_holder SET term_floor = term_floor")
        connection.execute("COMMIT")

    def _count(self, *, refused: int = 0, committed: int = 0) -> None:
        with self._lock:
            self.refused += refused
            self.committed += committed


def test_a_storm_of_serialization_failures_delays_takeovers_and_breaks_nothing(group, primary):
    """R3: beats are READ COMMITTED and go on; races lose, are run again, and are won in the end."""
    first = started(group, "node-1", "node-2", "node-3")
    storm = Storm(primary, 4)
    try:
        eventually(lambda: storm.refused > 50, 10, "a storm")
        mark = group.runs()[-1].last
        eventually(lambda: group.runs()[-1].last > mark + 1, 5, "the program runs on")
        assert [run.term for run in group.runs()] == [first.term]
        group.nodes[first.node].send(signal.SIGKILL, "all")
        dead_at = boottime()
        with suppress(AssertionError):
            group.wait_for_run(after=first.term, within_s=bound_s(group))
        in_storm_s = group.runs()[-1].first - dead_at
    finally:
        storm.end()

    healed_at = boottime()
    print(f"\nstorm: {storm.refused} refused, {storm.committed} committed;", end=" ")
    print(f"takeover within it: {in_storm_s:.2f} s" if in_storm_s > 0 else "no takeover within it")
    group.wait_for_run(after=first.term)
    assert_healed(group, healed_at)

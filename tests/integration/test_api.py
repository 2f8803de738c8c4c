"""The in-process API, on a real database: K8, cooperative tokens, the fenced transaction."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator import AsyncCoordinator, Coordinator, Token, TokenHeldError, TokenLostError
from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.errors import ConfigError, CoordError, TimingError
from coordinator.store.schema import migrate
from tests.support.servers.postgres import wait_until

#: Long enough for a machine that is busy with other things; nothing that is right waits for it.
WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def closed(database) -> Iterator[None]:
    """Every coordinator of a test is closed at its end, and takes its threads along."""
    yield
    while MADE:
        made = MADE.pop()
        if isinstance(made, AsyncCoordinator):
            asyncio.run(made.close())
        else:
            made.close()
    assert [thread.name for thread in threading.enumerate() if "coord" in thread.name] == []


MADE: list[Coordinator | AsyncCoordinator] = []


def node(database, name: str, kind: type = Coordinator, **more):
    settings = {"heartbeat_frequency": 0.3, "liveness_check_interval": 30.0, **more}
    made = kind(
        group_id="orders",
        task_id=name,
        database_url=database.conninfo,
        schema=database.schema,
        **settings,
    )
    MADE.append(made)
    return made


def test_a_token_by_name_is_held_for_the_block_and_given_back(database):
    """K8: a lock by name as an API of its own."""
    with node(database, "a").token("nightly") as token:
        assert isinstance(token, Token)
        assert (token.name, token.term) == ("orders/nightly", 1)
        assert token.node.startswith("a.")
        assert token.is_held()
        assert re.fullmatch(
            r"<Token orders/nightly term 1 of a\S+: held, \d+\.\d s left>", repr(token)
        )
        assert token.seconds_left > 0
        token.check()

    rows = database.query("SELECT session, term FROM token_holder WHERE group_id='orders/nightly'")
    assert rows == [(None, 1)]
    assert not token.is_held()
    assert repr(token) == f"<Token orders/nightly term 1 of {token.node}: not held>"


def test_terms_rise_through_releases(database):
    terms = []
    for name in ("a", "b", "a"):
        with node(database, name).token() as token:
            terms.append(token.term)

    assert terms == [1, 2, 3]


def test_not_waiting_for_a_held_token(database):
    patient = node(database, "b").token(timeout=0)

    with node(database, "a").token(), pytest.raises(TokenHeldError, match="a"), patient:
        pytest.fail("two holders")


def test_waiting_a_while_for_a_held_token(database):
    patient = node(database, "b").token(timeout=0.5)

    with node(database, "a").token(), pytest.raises(TokenHeldError), patient:
        pytest.fail("two holders")


def test_the_waiter_gets_the_token_when_it_is_given_back(database):
    got = threading.Event()
    terms: list[int] = []

    def wait() -> None:
        with node(database, "b").token() as token:
            terms.append(token.term)
            got.set()

    waiter = threading.Thread(target=wait)
    with node(database, "a").token():
        waiter.start()
        assert not got.wait(0.5)
    assert got.wait(5)
    waiter.join(5)
    assert terms == [2]


def test_the_decorator_holds_the_token_for_each_call(database):
    coordinator = node(database, "a")

    @coordinator.exclusive("report")
    def work(number: int) -> int:
        held = database.query(
            "SELECT session IS NOT NULL FROM token_holder WHERE group_id='orders/report'"
        )
        assert held == [(True,)]
        return number + 1

    assert work(1) == 2


def test_the_decorator_holds_the_token_while_a_coroutine_runs(database):
    """Calling a coroutine function runs nothing: its body must not find the token released."""
    coordinator = node(database, "a")

    @coordinator.exclusive("report")
    async def work() -> list[tuple[object, ...]]:
        await asyncio.sleep(0)
        return database.query(
            "SELECT session IS NOT NULL FROM token_holder WHERE group_id='orders/report'"
        )

    assert asyncio.run(work()) == [(True,)]


def test_the_asyncio_form_gives_the_token_back_when_the_task_is_cancelled(database):
    async def hold(entered: asyncio.Event) -> None:
        async with node(database, "a", AsyncCoordinator).token():
            entered.set()
            await asyncio.Event().wait()

    async def main() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(hold(entered))
        await asyncio.wait_for(entered.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    held = "SELECT group_id FROM token_holder WHERE session IS NOT NULL"
    assert database.query(held) == []


def test_the_asyncio_form_needs_no_thread_of_an_executor(database):
    """The executor's threads may all be taken: by other waits for the token, or by anything."""
    coordinator = node(database, "a", AsyncCoordinator)
    order: list[str] = []

    async def use(name: str) -> None:
        async with coordinator.token():
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    async def main() -> None:
        executor = ThreadPoolExecutor(1)
        asyncio.get_running_loop().set_default_executor(executor)
        executor.shutdown()  # whoever asks it for a thread is refused
        await asyncio.gather(use("a"), use("b"), use("c"))

    asyncio.run(asyncio.wait_for(main(), WITHIN_S))

    assert len(order) == 6
    assert all(order[i + 1] == order[i].replace("in", "out") for i in (0, 2, 4))


def test_a_fenced_transaction_commits_while_the_token_is_held(database):
    """F1: the effect is in the transaction that checks the term."""
    database.query("CREATE TABLE effect (term bigint)")

    with node(database, "a").token() as token, token.transaction() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {database.schema}.effect VALUES (%s)", (token.term,)
        )

    assert database.query("SELECT term FROM effect") == [(1,)]


def test_a_fenced_transaction_of_an_old_term_writes_nothing(database):
    """F1: whoever was paused too long is refused by the database itself."""
    database.query("CREATE TABLE effect (term bigint)")
    with node(database, "a").token() as old:
        pass
    with node(database, "b").token():
        from coordinator.store.program.fenced_transaction import fenced_transaction

        with (
            pytest.raises(TokenLostError),
            fenced_transaction(
                database.conninfo, database.schema, old.name, old.term, old.session
            ) as connection,
        ):
            connection.exec_driver_sql(f"INSERT INTO {database.schema}.effect VALUES (1)")

    assert database.query("SELECT term FROM effect") == []


def test_losing_the_token_raises_and_calls_back(database):
    """T4: check compares with the deadline; on_lost says why."""
    lost = threading.Event()
    reasons: list[str] = []

    def tell(reason: str) -> None:
        reasons.append(reason)
        lost.set()

    def work() -> None:
        with node(database, "a").token() as token:
            token.on_lost(tell)
            database.query("UPDATE health_check SET ended_at = now(), end_reason = 'evicted'")
            assert lost.wait(5)
            token.check()

    with pytest.raises(TokenLostError):
        work()

    assert reasons == ["the session was ended by another node"]


def test_impossible_intervals_are_refused_before_anything_is_touched(database):
    with pytest.raises(TimingError, match="livenessCheckInterval"):
        node(database, "a", liveness_check_interval=0.8)


def test_a_database_that_is_not_there_is_one_error(tmp_path):
    coordinator = Coordinator(group_id="g", database_url=f"host={tmp_path} dbname=x user=y")
    MADE.append(coordinator)

    with pytest.raises(CoordError, match="No such file"), coordinator.token():
        pytest.fail("there is no database")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one between here and the end of the block, whatever the process."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    yield
    path.unlink()


def use_once(coordinator: Coordinator, path: Path) -> None:
    with coordinator.token("t", timeout=WITHIN_S) as token, alone(path):
        token.check()


def let_beat(database, token: Token, alive: Callable[[], bool]) -> None:
    """Return when the others have waited for as long as it takes to tell a namesake."""
    beats = "SELECT beat FROM health_check WHERE session::text = %s"
    ((seen,),) = database.query(beats, token.session)
    wait_until(lambda: not alive() or database.query(beats, token.session)[0][0] > seen + 4)
    assert alive()


def test_threads_wait_for_the_token_of_one_coordinator(database, tmp_path):
    """One process, one session (U3): the same name twice in it waits."""
    coordinator = node(database, "a", heartbeat_frequency=0.1)

    with ThreadPoolExecutor(4) as pool, coordinator.token("t") as token:
        ended = [pool.submit(use_once, coordinator, tmp_path / "inside") for _ in range(4)]
        let_beat(database, token, lambda: not any(one.done() for one in ended))

    assert [one.exception() for one in ended] == [None] * 4
    assert database.query("SELECT count(*) FROM health_check") == [(1,)]


def test_all_tokens_of_a_process_are_of_one_session_and_one_connection(database):
    coordinator = node(database, "a")
    connections = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'coord'"
    )

    with coordinator.token() as own, coordinator.token("x") as x, coordinator.token("y") as y:
        sessions = {own.session, x.session, y.session}
        held = database.query(
            "SELECT DISTINCT session::text FROM token_holder WHERE session IS NOT NULL"
        )
        assert database.query(connections) == [(1,)]

    assert held == [(session,) for session in sessions]
    assert len({own.node, x.node, y.node}) == 1


def test_a_session_stays_between_blocks_and_ends_with_the_coordinator(database):
    coordinator = node(database, "a")
    sessions = set()
    for _ in range(3):
        with coordinator.token("x") as token:
            sessions.add(token.session)

    assert len(sessions) == 1
    coordinator.close()
    assert database.query("SELECT ended_at IS NOT NULL FROM health_check") == [(True,)]
    with pytest.raises(CoordError, match="closed"), coordinator.token("x"):
        pytest.fail("it is closed")


def test_a_coordinator_that_is_discarded_warns_and_leaves_nothing(database):
    coordinator = Coordinator(
        group_id="orders", database_url=database.conninfo, schema=database.schema
    )
    with coordinator.token("x"):
        pass

    discarded = [coordinator]
    del coordinator
    with pytest.warns(ResourceWarning, match="unclosed Coordinator"):
        discarded.clear()

    assert [one.name for one in threading.enumerate() if one.name.startswith("coord-")] == []


def test_a_forked_child_holds_nothing_and_says_so(database):
    """A copy of the parent's memory is no holding: trust is not renewed there."""
    coordinator = node(database, "a")

    with coordinator.token("x") as token:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                token.check()
                told = "held"
            except TokenLostError as error:
                told = str(error)
            os.write(writer, told.encode())
            os._exit(0)
        os.close(writer)
        told = os.read(reader, 1000).decode()
        os.close(reader)
        os.waitpid(child, 0)
        token.check()

    assert told.endswith("is lost: this process is a fork of the one that holds it")


def test_a_dead_holder_is_replaced_by_tries_that_are_each_too_short(database):
    """U6: the observation of a holder survives between the tries of one coordinator."""
    script = (
        "import os, sys; from coordinator import Coordinator;"
        "c = Coordinator(group_id='orders', database_url=sys.argv[1], schema=sys.argv[2],"
        " task_id='dead', heartbeat_frequency=0.2, liveness_check_interval=2.0);"
        "c.token('x').__enter__(); print('held', flush=True); os.kill(os.getpid(), 9)"
    )
    argv = [sys.executable, "-c", script, database.conninfo, database.schema]
    assert subprocess.run(argv, capture_output=True, check=False).stdout == b"held\n"
    coordinator = node(database, "a", heartbeat_frequency=0.2, liveness_check_interval=2.0)
    terms, told = [], []

    def try_once() -> bool:
        try:
            with coordinator.token("x", timeout=0.3) as token:
                terms.append(token.term)
        except TokenHeldError as error:
            told.append(str(error))
        return bool(terms)

    wait_until(try_once, WITHIN_S)

    assert terms == [2]
    assert all("is held by dead." in text for text in told)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_of_one_configuration_wait_for_the_token(database, tmp_path, start):
    """A cron job that overlaps itself; workers that were forked with a Coordinator in them."""
    coordinator = node(database, "a", heartbeat_frequency=0.1)
    processes = multiprocessing.get_context(start)
    ended = [
        processes.Process(target=use_once, args=(coordinator, tmp_path / "inside"))
        for _ in range(3)
    ]

    try:
        with coordinator.token("t") as token:
            for process in ended:
                process.start()
            let_beat(database, token, lambda: all(one.is_alive() for one in ended))
        for process in ended:
            process.join(WITHIN_S)
    finally:
        for process in ended:
            process.kill()
            process.join()

    assert [process.exitcode for process in ended] == [0, 0, 0]
    terms = "SELECT max(term) FROM token_holder WHERE group_id = 'orders/t'"
    assert database.query(terms) == [(4,)]


FORKSERVER = """
import multiprocessing, sys
from coordinator import Coordinator

def use(coordinator, terms):
    with coordinator.token("t", timeout=60) as token:
        terms.put(token.term)

if __name__ == "__main__":
    processes = multiprocessing.get_context("forkserver")
    with Coordinator(
        group_id="orders", database_url=sys.argv[1], schema=sys.argv[2], heartbeat_frequency=0.2
    ) as coordinator:
        terms = processes.Queue()
        child = processes.Process(target=use, args=(coordinator, terms))
        with coordinator.token("t"):
            child.start()
        print(terms.get(timeout=60))
        child.join(60)
"""


def test_a_process_of_a_forkserver_waits_for_the_token(database, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(FORKSERVER)

    argv = [sys.executable, str(script), database.conninfo, database.schema]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    assert (ended.stdout, ended.returncode) == ("2\n", 0), ended.stderr


def test_holdings_leave_no_descriptor_no_thread_and_no_row(database):
    """The names that processes take are few, and come again: each is a row in the database."""
    coordinator = node(database, "a")
    use = coordinator.exclusive("t")(lambda: None)
    use()
    use()
    descriptors, threads = opened()

    for _ in range(10):
        use()

    # The thread of the connection has a selector open while it waits, and none while it asks.
    after = opened()
    assert after[0] <= descriptors + 1
    assert after[1] == threads
    rows = "SELECT count(*) FROM health_check"
    assert database.query(rows) == [(1,)]


def opened() -> tuple[int, set[str]]:
    """Return the number of open descriptors and the threads of this process."""
    return len(os.listdir("/proc/self/fd")), {thread.name for thread in threading.enumerate()}


def test_intervals_are_written_as_in_the_configuration(database):
    with node(database, "a", heartbeat_frequency="300ms", liveness_check_interval="1.5s").token():
        rows = database.query("SELECT heartbeat_ms, liveness_ms FROM health_check")

    assert rows == [(300, 1500)]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"liveness_check_interval": "6 x"}, "liveness_check_interval"),
        ({"heartbeat_frequency": None}, "heartbeat_frequency"),
    ],
)
def test_a_malformed_interval_is_one_error_that_names_it(settings, key):
    with pytest.raises(ConfigError, match=f"^{key}: must"):
        Coordinator(group_id="g", database_url="", **settings)


def test_the_tables_are_looked_for_where_nodes_have_them(unmigrated):
    """A schema that nobody names is that of `coord run`."""
    migrate.upgrade(unmigrated.conninfo, DEFAULT_SCHEMA)

    made = Coordinator(group_id="orders", database_url=unmigrated.conninfo)
    with made, made.token() as token:
        held = unmigrated.query("SELECT term FROM coord.token_holder WHERE session IS NOT NULL")

    assert DEFAULT_SCHEMA == "coord"
    assert held == [(token.term,)]

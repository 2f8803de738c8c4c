"""The in-process API, on a real database: S8, cooperative tokens, the fenced transaction."""

from __future__ import annotations

import asyncio
import threading

import pytest

from coordinator import Coordinator, Token, TokenHeldError, TokenLostError
from coordinator.errors import CoordError, TimingError


def node(database, name: str, **more) -> Coordinator:
    settings = {"heartbeat_frequency": 0.3, "liveness_check_interval": 1.5, **more}
    return Coordinator(
        group_id="orders",
        task_id=name,
        database_url=database.conninfo,
        schema=database.schema,
        **settings,
    )


def test_a_token_by_name_is_held_for_the_block_and_given_back(database):
    """S8: a lock by name as an API of its own."""
    with node(database, "a").token("nightly") as token:
        assert isinstance(token, Token)
        assert (token.name, token.term, token.node) == ("orders/nightly", 1, "a")
        assert token.is_held()
        assert token.seconds_left > 0
        token.check()

    rows = database.query("SELECT session, term FROM token_holder WHERE group_id='orders/nightly'")
    assert rows == [(None, 1)]
    assert not token.is_held()


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


def test_the_asyncio_form_gives_the_token_back_when_the_task_is_cancelled(database):
    async def hold(entered: asyncio.Event) -> None:
        async with node(database, "a").token_async():
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

    assert database.query("SELECT session FROM token_holder") == [(None,)]


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
        from coordinator.store.fenced import fenced_transaction

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
        node(database, "a", heartbeat_frequency=1.0)


def test_a_database_that_is_not_there_is_one_error(tmp_path):
    coordinator = Coordinator(group_id="g", database_url=f"host={tmp_path} dbname=x user=y")

    with pytest.raises(CoordError, match="No such file"), coordinator.token():
        pytest.fail("there is no database")

"""Loss of a token as an exception, an event and a future; fenced writes on users' connections."""

from __future__ import annotations

import asyncio
import signal
import threading

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from coordinator import AsyncCoordinator, AsyncToken, Coordinator, Token, TokenLostError
from coordinator.errors import ConfigError, UsageError
from tests.support.servers.postgres import wait_until

WITHIN_S = 60.0
LOSE = "UPDATE health_check SET ended_at = now(), end_reason = 'evicted'"


@pytest.fixture
def settings(database) -> dict:
    return {
        "group_id": "orders",
        "task_id": "a",
        "database_url": database.conninfo,
        "schema": database.schema,
        "heartbeat_frequency": 0.2,
        "liveness_check_interval": 30.0,
    }


def test_a_loss_is_raised_in_a_block_of_the_main_thread_that_sleeps(settings, database):
    forever = threading.Event()
    before = signal.getsignal(signal.SIGURG)

    def lose() -> None:
        with Coordinator(**settings) as coordinator, coordinator.token("x", cancel="main-thread"):
            database.query(LOSE)
            forever.wait(WITHIN_S)
            pytest.fail("the block went on")

    with pytest.raises(TokenLostError, match=r"orders/x is lost: the session was ended"):
        lose()

    assert signal.getsignal(signal.SIGURG) == before


def test_only_the_block_of_the_lost_token_is_interrupted(settings, database):
    """Two coordinators are two sessions; the inner one is lost."""
    other = {**settings, "group_id": "others"}
    ended = "UPDATE health_check SET ended_at = now() WHERE group_id LIKE 'others%'"
    reached = []

    def lose(theirs: Coordinator) -> None:
        with theirs.token("y", cancel="main-thread"):
            database.query(ended)
            threading.Event().wait(WITHIN_S)

    with (
        Coordinator(**settings) as mine,
        Coordinator(**other) as theirs,
        mine.token("x", cancel="main-thread") as outer,
    ):
        with pytest.raises(TokenLostError, match="others/y"):
            lose(theirs)
        outer.check()
        reached.append("the end of the outer block")

    assert reached == ["the end of the outer block"]


def test_no_other_thread_can_be_interrupted(settings):
    refused: list[str] = []

    def use() -> None:
        try:
            with Coordinator(**settings).token("x", cancel="main-thread"):
                refused.append("entered")
        except UsageError as error:
            refused.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(WITHIN_S)

    assert refused == [
        'cancel="main-thread": this block runs in another thread; use token.check(), on_lost or'
        " token.lost there"
    ]


def test_a_loss_cancels_the_task_and_is_raised_as_a_loss(settings, database):
    async def lose(coordinator: AsyncCoordinator) -> None:
        async with coordinator.token("x", cancel="task"):
            database.query(LOSE)
            await asyncio.Event().wait()

    async def main() -> None:
        async with AsyncCoordinator(**settings) as coordinator:
            with pytest.raises(TokenLostError, match="the session was ended"):
                await lose(coordinator)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    asyncio.run(asyncio.wait_for(main(), WITHIN_S))


def test_event_and_future_tell_of_a_loss(settings, database):
    called: list[str] = []

    def lose() -> None:
        with Coordinator(**settings) as coordinator, coordinator.token("x") as token:
            token.on_lost(called.append)
            database.query(LOSE)
            assert token.lost.wait(WITHIN_S)
            assert token.lost_future.result(WITHIN_S) == "the session was ended by another node"

    with pytest.raises(TokenLostError):
        lose()

    assert called == ["the session was ended by another node"]


def test_the_end_of_a_block_is_no_loss(settings):
    called: list[str] = []

    with Coordinator(**settings) as coordinator, coordinator.token("x") as token:
        token.on_lost(called.append)

    assert token.lost_future.cancelled()
    assert not token.lost.is_set()
    assert called == []


def test_a_loss_is_told_to_a_task_by_event_and_future(settings, database):
    async def main() -> tuple[str, bool]:
        async with AsyncCoordinator(**settings) as coordinator, coordinator.token("x") as token:
            database.query(LOSE)
            return await token.lost_future, token.lost.is_set()

    async def lose() -> None:
        told.append(await main())

    told: list[tuple[str, bool]] = []
    with pytest.raises(TokenLostError):
        asyncio.run(asyncio.wait_for(lose(), WITHIN_S))

    assert told == []


def test_a_callback_that_raises_ends_neither_the_heartbeats_nor_the_release(settings, database):
    told = threading.Event()

    def raises(_reason: str) -> None:
        raise RuntimeError("a mistake of the application")

    def lose() -> None:
        with Coordinator(**settings) as coordinator, coordinator.token("x") as token:
            token.on_lost(raises)
            token.on_lost(lambda _: told.set())
            database.query(LOSE)
            assert told.wait(WITHIN_S)

    with pytest.raises(TokenLostError):
        lose()
    with Coordinator(**settings) as coordinator, coordinator.token("x", timeout=WITHIN_S) as again:
        assert again.term == 2


def test_a_nested_block_of_a_thread_shares_the_holding_where_it_asks_to(settings):
    with Coordinator(**settings) as coordinator, coordinator.token("x") as outer:
        with coordinator.token("x", reentrant=True) as inner:
            assert inner is outer
        outer.check()


def test_a_nested_block_of_a_task_shares_the_holding_and_one_of_another_task_waits(settings):
    async def other(coordinator: AsyncCoordinator, order: list[str]) -> None:
        async with coordinator.token("x", reentrant=True):
            order.append("other")

    async def main() -> list[str]:
        order: list[str] = []
        async with AsyncCoordinator(**settings) as coordinator:
            async with coordinator.token("x") as outer:
                task = asyncio.create_task(other(coordinator, order))
                async with coordinator.token("x", reentrant=True) as inner:
                    assert inner is outer
                    order.append("inner")
                outer.check()
            await task
        return order

    assert asyncio.run(asyncio.wait_for(main(), WITHIN_S)) == ["inner", "other"]


# --- fenced writes on the connections of users ---------------------------------------------------


@pytest.fixture
def effect(database) -> str:
    database.query("CREATE TABLE effect (term bigint)")
    return f"INSERT INTO {database.schema}.effect VALUES "


def url(database) -> str:
    from coordinator.app.config.model.database_url import url_of

    return url_of(database.conninfo).replace("postgresql://", "postgresql+psycopg://")


def written(database) -> list:
    return database.query("SELECT term FROM effect ORDER BY term")


@pytest.mark.parametrize("kind", ["Connection", "Session", "psycopg", "autocommit"])
def test_f1_a_connection_that_is_brought_commits_only_under_the_token(
    settings, database, effect, kind
):
    engine = sa.create_engine(url(database))
    brought = {
        "Connection": engine.connect,
        "Session": lambda: Session(engine),
        "psycopg": lambda: psycopg.connect(database.conninfo),
        "autocommit": lambda: psycopg.connect(database.conninfo, autocommit=True),
    }[kind]()

    def write(term: int) -> None:
        statement = f"{effect} ({term})"
        brought.execute(statement if kind in ("psycopg", "autocommit") else sa.text(statement))

    def fail(token: Token) -> None:
        with token.transaction(brought):
            write(100)
            raise ZeroDivisionError

    with brought, Coordinator(**settings) as coordinator, coordinator.token("x") as token:
        with token.transaction(brought) as given:
            assert given is brought
            write(token.term)
        with pytest.raises(ZeroDivisionError):
            fail(token)
        database.query("UPDATE token_holder SET session = NULL")
        with pytest.raises(TokenLostError), token.transaction(brought):
            write(200)
    engine.dispose()

    assert written(database) == [(1,)]


def test_an_open_transaction_is_not_fenced_afterwards(settings, database, effect):
    with psycopg.connect(database.conninfo) as brought, Coordinator(**settings) as coordinator:
        brought.execute("SELECT 1")
        with (
            coordinator.token("x") as token,
            pytest.raises(UsageError, match="open transaction"),
            token.transaction(brought),
        ):
            pytest.fail("the earlier reads are not fenced")


@pytest.mark.parametrize("kind", ["AsyncConnection", "AsyncSession", "psycopg"])
def test_f1_an_asynchronous_connection_commits_only_under_the_token(
    settings, database, effect, kind
):
    async def main() -> None:
        engine = create_async_engine(url(database))
        if kind == "psycopg":
            brought = await psycopg.AsyncConnection.connect(database.conninfo)
        else:
            brought = engine.connect() if kind == "AsyncConnection" else AsyncSession(engine)

        async def write(term: int) -> None:
            statement = f"{effect} ({term})"
            await brought.execute(statement if kind == "psycopg" else sa.text(statement))

        async def fail(token: AsyncToken) -> None:
            async with token.transaction(brought):
                await write(100)
                raise ZeroDivisionError

        coordinator = AsyncCoordinator(**settings)
        async with brought, coordinator, coordinator.token("x") as token:
            async with token.transaction(brought):
                await write(token.term)
            with pytest.raises(ZeroDivisionError):
                await fail(token)
            database.query("UPDATE token_holder SET session = NULL")
            with pytest.raises(TokenLostError):
                async with token.transaction(brought):
                    await write(200)
        await engine.dispose()

    asyncio.run(asyncio.wait_for(main(), WITHIN_S))

    assert written(database) == [(1,)]


def test_a_coordinator_is_made_from_an_engine(settings, database):
    engine = sa.create_engine(url(database))
    rest = {key: value for key, value in settings.items() if key != "database_url"}

    with Coordinator.from_engine(engine, **rest) as coordinator, coordinator.token("x") as token:
        assert database.query(
            "SELECT count(*) FROM token_holder WHERE session::text = %s", token.session
        ) == [(1,)]


def test_an_engine_for_another_database_is_refused():
    with pytest.raises(ConfigError, match="sqlite"):
        Coordinator.from_engine(sa.create_engine("sqlite://"), group_id="orders")


def test_waiting_is_for_the_release(settings, database):
    """`wait=False` and `timeout` differ in how long they wait, and in nothing else."""
    with Coordinator(**settings) as coordinator, coordinator.token("x"):
        thread_refused = threading.Event()

        def refused() -> None:
            from coordinator import TokenHeldError

            with pytest.raises(TokenHeldError), coordinator.token("x", wait=False):
                pytest.fail("two holders")
            thread_refused.set()

        threading.Thread(target=refused).start()
        wait_until(thread_refused.is_set, WITHIN_S)

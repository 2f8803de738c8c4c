"""Promises of AsyncCoordinator, kept by the real one and by FakeAsyncCoordinator alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from coordinator import AsyncCoordinator, AsyncToken, TokenHeldError, TokenLostError
from coordinator.errors import StateTooLargeError, UsageError
from tests.conformance.api.conftest import Maker

WITHIN_S = 60.0


def run(maker: Maker, body: Coroutine[Any, Any, None]) -> None:
    """Run a test, and close its coordinators in the same loop."""

    async def whole() -> None:
        try:
            await asyncio.wait_for(body, WITHIN_S)
        finally:
            for coordinator in maker.made_async:
                await coordinator.close()

    asyncio.run(whole())


async def taken_away(maker: Maker, token: AsyncToken) -> None:
    """Lose a token as another node's doing, beside the loop."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, maker.take_away, token.name)


def test_a_token_is_held_for_the_block_and_waited_for(maker: Maker):
    async def body() -> None:
        mine, theirs = maker.asynchronous("a"), maker.asynchronous("b")
        async with mine.token("x") as token:
            assert isinstance(token, AsyncToken)
            assert (token.name, token.term, token.is_held()) == ("orders/x", 1, True)
            for limit in ({"wait": False}, {"timeout": 0.2}):
                with pytest.raises(TokenHeldError, match=r"held by a\."):
                    async with theirs.token("x", **limit):
                        pytest.fail("two holders")
            waiter = asyncio.ensure_future(term_of(theirs))
            await asyncio.sleep(0)
        assert not token.is_held()
        with pytest.raises(asyncio.CancelledError):
            await token.lost_future
        assert await waiter == 2

    run(maker, body())


async def term_of(coordinator: AsyncCoordinator) -> int:
    async with coordinator.token("x") as token:
        return token.term


def test_a_task_that_is_cancelled_while_it_waits_holds_nothing(maker: Maker):
    async def body() -> None:
        mine, theirs = maker.asynchronous("a"), maker.asynchronous("b")
        async with mine.token("x"):
            waiter = asyncio.ensure_future(term_of(theirs))
            await asyncio.sleep(0.05)
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
        async with theirs.token("x") as token:
            token.check()

    run(maker, body())


def test_a_loss_is_told_by_callback_event_future_and_at_the_end(maker: Maker):
    async def lose(reasons: list[str]) -> None:
        async with maker.asynchronous().token("x") as token:
            token.on_lost(reasons.append)
            await taken_away(maker, token)
            await token.lost.wait()
            assert await token.lost_future == reasons[0]
            with pytest.raises(TokenLostError):
                token.check()

    async def body() -> None:
        reasons: list[str] = []
        with pytest.raises(TokenLostError, match="orders/x"):
            await lose(reasons)
        assert len(reasons) == 1

    run(maker, body())


def test_a_loss_can_cancel_the_task_and_is_raised_as_a_loss(maker: Maker):
    async def lose() -> None:
        async with maker.asynchronous().token("x", cancel="task") as token:
            await taken_away(maker, token)
            await asyncio.sleep(WITHIN_S)
            pytest.fail("the block went on")

    async def body() -> None:
        with pytest.raises(TokenLostError, match="orders/x"):
            await lose()

    run(maker, body())


def test_a_decorated_coroutine_function_holds_the_token(maker: Maker):
    coordinator = maker.asynchronous()

    @coordinator.exclusive("x")
    async def work() -> str:
        with pytest.raises(TokenHeldError):
            async with maker.asynchronous("b").token("x", wait=False):
                pass
        return "done"

    async def body() -> None:
        assert await work() == "done"

    run(maker, body())
    with pytest.raises(TypeError):
        coordinator.exclusive("x")(lambda: None)  # type: ignore[arg-type,return-value]


def test_a_state_is_left_to_the_next_holder(maker: Maker):
    coordinator = maker.asynchronous()

    async def body() -> None:
        async with coordinator.token("x") as token:
            assert await token.state.get() is None
            assert [await token.state.put(content) for content in (b"one", b"two")] == [1, 2]
            with pytest.raises(StateTooLargeError):
                await token.state.put(bytes((1 << 20) + 1))
        async with coordinator.token("x") as later:
            assert await later.state.get() == b"two"
            with pytest.raises(TokenLostError):
                await token.state.put(b"late")
            assert await later.state.get() == b"two"

    run(maker, body())


@pytest.mark.parametrize("work", ["committed", "failed"])
def test_a_state_is_saved_with_the_transaction_that_it_tells_of(maker: Maker, work: str):
    coordinator = maker.asynchronous()

    async def body() -> None:
        async with coordinator.token("x") as token:
            with contextlib.suppress(ZeroDivisionError):
                async with maker.async_connection() as own, token.transaction(own) as connection:
                    assert await token.state.put_in(connection, b"new") == 1
                    assert await token.state.get_in(connection) == b"new"
                    if work == "failed":
                        raise ZeroDivisionError
            assert await token.state.get() == (b"new" if work == "committed" else None)

    run(maker, body())


def test_a_checkpoint_is_left_to_the_next_holder(maker: Maker, tmp_path):
    coordinator = maker.asynchronous()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")

    async def body() -> None:
        async with coordinator.token("x") as token:
            assert not await token.restore(tmp_path / "none")
            assert await token.checkpoint(b"bytes") == 1
            assert await token.restore(tmp_path / "bytes")
            assert await token.checkpoint(tmp_path / "folder") == 2
        async with coordinator.token("x") as later:
            assert await later.restore(tmp_path / "again")
            with pytest.raises(UsageError, match="something already"):
                await later.restore(tmp_path / "again")
        with pytest.raises(TokenLostError):
            await token.checkpoint(b"late")

    run(maker, body())

    assert (tmp_path / "bytes").read_bytes() == b"bytes"
    assert (tmp_path / "again" / "file").read_bytes() == b"content"

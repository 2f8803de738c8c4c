"""Contenders in threads, on a database in memory: nothing stays held, whoever goes away when."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordinator.app.api.in_process import Contender, Contest, held, held_async
from coordinator.errors import CoordError, DatabaseUnreachableError, TokenHeldError, TokenLostError
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.holders.holding import Holding
from tests.support.fakes.threaded_store import ThreadedStores

#: Long enough for a machine that is busy with other things; nothing that is right waits for it.
WITHIN_S = 60.0
TIMING = Timing(liveness_s=30.0, heartbeat_s=0.5)
#: Of a contender's way to a free token, as ThreadedStores tells them.
MOMENTS = ("connect", "asking Join", "answered Join", "asking Take", "answered Take")


class NoExecutor(ThreadPoolExecutor):
    """An application may have filled the default executor: nothing of coord may need it."""

    def submit(self, *_args: object, **_keys: object) -> object:
        raise AssertionError("the default executor was used")


@pytest.fixture
def stores() -> ThreadedStores:
    return ThreadedStores()


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """Every node ends: those that others gave up to wait for, too."""
    yield
    wait_for_threads()


def contest(stores: ThreadedStores, **more) -> Contest:
    return Contest(token="orders", task_id="a", timing=TIMING, store=stores, **more)


def wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("coord-"):
            thread.join(WITHIN_S)
            assert not thread.is_alive(), thread.name


def run(main) -> None:
    async def without_executor() -> None:
        asyncio.get_running_loop().set_default_executor(NoExecutor())
        await asyncio.wait_for(main(), WITHIN_S)

    asyncio.run(without_executor())


def test_more_waiters_in_one_loop_than_an_executor_has_threads(stores):
    """The release needs no thread that a wait may have taken."""
    inside = done = 0

    async def work() -> None:
        nonlocal inside, done
        async with held_async(contest(stores)):
            assert inside == 0
            inside += 1
            await asyncio.sleep(0)
            inside -= 1
            done += 1

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range((os.cpu_count() or 1) + 5)))

    run(main)

    assert done == (os.cpu_count() or 1) + 5
    assert stores.held() == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_token_that_is_given_back_on_its_way_is_not_held(moment):
    """A contender that waits may go away at any moment before the grant."""
    answers: list[object] = []

    def at(reached: str) -> None:
        if reached == moment:
            contender.give_back()

    stores = ThreadedStores(at)
    contender = Contender(contest(stores), answers.append)
    contender.start()
    wait_for_threads()

    assert [type(answer) for answer in answers] == [TokenHeldError]
    assert stores.held() == stores.living() == []


def test_a_token_that_is_given_back_at_the_grant_is_not_held(stores):
    contender = Contender(contest(stores), lambda _: contender.give_back())
    contender.start()
    wait_for_threads()

    assert stores.database.tokens["orders"].term == 1
    assert stores.held() == stores.living() == []


def test_a_contender_that_is_given_up_before_it_starts_asks_nothing(stores):
    contender = Contender(contest(stores), lambda _: None)
    contender.give_back()
    contender.start()
    wait_for_threads()

    assert stores.database.nodes == {}


def test_tasks_that_are_cancelled_at_any_moment_hold_nothing(stores):
    """The moments are drawn: turns of the loop, then times, in which the threads get anywhere."""
    inside = entered = 0

    async def work() -> None:
        nonlocal inside, entered
        async with held_async(contest(stores)):
            assert inside == 0
            inside += 1
            entered += 1
            try:
                await asyncio.Event().wait()
            finally:
                inside -= 1

    async def cancelled(draw: random.Random) -> None:
        task = asyncio.create_task(work())
        for _ in range(draw.randrange(4)):
            await asyncio.sleep(0)
        if draw.random() < 0.8:
            await asyncio.wait((task,), timeout=draw.uniform(0, 0.03))
        task.cancel()
        if draw.random() < 0.3:
            await asyncio.sleep(0)
            task.cancel()  # impatient: it waits no more for the release, which goes on
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main() -> None:
        for seed in range(40):
            draw = random.Random(seed)
            await asyncio.gather(*(cancelled(draw) for _ in range(4)))

    run(main)
    wait_for_threads()

    assert entered > 0
    assert stores.held() == stores.living() == []


def test_a_task_that_is_thrown_away_with_its_loop_holds_nothing(stores):
    """Nobody can be told of the grant, or of the release, once the loop is closed."""

    async def work() -> None:
        async with held_async(contest(stores)):
            granted.set()
            await asyncio.Event().wait()

    for turns in range(1, 5):
        granted = asyncio.Event()
        loop = asyncio.new_event_loop()
        task = loop.create_task(work())
        for _ in range(turns):
            loop.run_until_complete(asyncio.sleep(0))
        if turns == 4:
            loop.run_until_complete(granted.wait())
        task._log_destroy_pending = False  # that is what this test is about
        loop.close()
        del task, loop
        gc.collect()
        wait_for_threads()

        assert stores.held() == stores.living() == []


def test_a_grant_after_the_loop_was_closed_ends_itself():
    """The coroutine may be kept, and never go on: the grant alone says that nobody is there."""
    reached, closed = threading.Event(), threading.Event()

    def at(moment: str) -> None:
        if moment == "asking Take":
            reached.set()
            assert closed.wait(WITHIN_S)

    async def work() -> None:
        async with held_async(contest(stores)):
            pytest.fail("the loop is closed")

    stores = ThreadedStores(at)
    loop = asyncio.new_event_loop()
    task = loop.create_task(work())
    loop.run_until_complete(asyncio.sleep(0))
    assert reached.wait(WITHIN_S)
    task._log_destroy_pending = False
    loop.close()
    closed.set()
    wait_for_threads()

    assert stores.database.tokens["orders"].term == 1
    assert stores.held() == stores.living() == []


def test_what_a_callback_raises_stops_nothing(stores, caplog):
    """The second callback may be the one that stops the work, and the token must be released."""
    told: list[str] = []

    def fail(reason: str) -> None:
        told.append("first")
        raise ValueError(reason)

    def leave(reason: str) -> None:
        told.append("second")
        raise SystemExit(reason)

    def work() -> None:
        with held(contest(stores)) as holding:
            holding.on_lost(fail)
            holding.on_lost(leave)
            holding.on_lost(lambda reason: (told.append(reason), lost.set()))
            stores.end_sessions()
            assert lost.wait(WITHIN_S)

    lost = threading.Event()
    with pytest.raises(TokenLostError):
        work()

    assert told == ["first", "second", "the session was ended by another node"]
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, SystemExit]
    assert stores.living() == []


def test_the_normal_end_of_a_block_is_no_loss(stores):
    told: list[str] = []

    with held(contest(stores)) as holding:
        holding.on_lost(told.append)

    assert not holding.is_held()
    assert told == []


def test_a_waiter_is_told_what_nobody_expected():
    def at(moment: str) -> None:
        raise ArithmeticError("strange")

    with (
        pytest.raises(CoordError, match="ArithmeticError: strange"),
        held(contest(ThreadedStores(at))),
    ):
        pytest.fail("there was no answer")


def test_a_holder_whose_node_has_died_is_told(stores):
    told: list[Holding | CoordError] = []

    def answered(answer: Holding | CoordError) -> None:
        told.append(answer)
        if isinstance(answer, Holding):
            raise ArithmeticError("strange")

    contender = Contender(contest(stores), answered)
    contender.start()
    wait_for_threads()

    holding, trouble = told
    assert isinstance(trouble, CoordError)
    with pytest.raises(TokenLostError, match="ArithmeticError: strange"):
        holding.check()


def test_a_forked_child_holds_nothing_and_gives_nothing_back(stores):
    with held(contest(stores)) as holding:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                told: list[str] = []
                holding.on_lost(told.append)
                assert not holding.is_held()
                assert holding.seconds_left < 0
                assert told == ["this process is a fork of the one that holds it"]
                with pytest.raises(TokenLostError, match="fork"):
                    holding.check()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        assert holding.is_held()
        assert stores.held() == ["orders"]


def test_a_forked_child_may_leave_the_block(stores):
    """Its way out must not end the parent's holding, nor wait for threads that it has not."""
    block = held(contest(stores))
    holding = block.__enter__()
    child = os.fork()
    if child == 0:
        try:
            block.__exit__(None, None, None)
        except TokenLostError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert holding.is_held()

    block.__exit__(None, None, None)

    assert stores.held() == stores.living() == []


def test_fifty_holdings_leave_no_descriptor_and_no_thread():
    """The ends that differ: the body's own, its exception, a timeout, a database that is away."""

    def at(moment: str) -> None:
        if moment == "connect" and away:
            raise DatabaseUnreachableError("away")

    def use() -> None:
        with held(contest(stores)) as holding:
            holding.check()

    def fail() -> None:
        with pytest.raises(ValueError, match="body"), held(contest(stores)):
            raise ValueError("body")

    def give_up() -> None:
        impatient = held(contest(stores, timeout_s=0))
        with held(contest(stores)), pytest.raises(TokenHeldError), impatient:
            pytest.fail("two holders")

    def find_nobody() -> None:
        nonlocal away
        away = True
        with pytest.raises(DatabaseUnreachableError), held(contest(stores)):
            pytest.fail("there is no database")
        away = False

    away = False
    stores = ThreadedStores(at)
    use()  # what is opened once for good is open now
    wait_for_threads()
    before = opened()
    for _ in range(10):
        for end in (use, fail, give_up, find_nobody):
            end()
    wait_for_threads()

    assert opened() == before
    assert stores.held() == stores.living() == []


def opened() -> tuple[set[str], set[str]]:
    """Return the open descriptors and the threads of this process."""
    descriptors = {
        name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")
    }
    return descriptors, {thread.name for thread in threading.enumerate()}

"""One session of a process, in threads, on a database in memory: nothing stays held."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordinator import AsyncCoordinator, Coordinator, TokenHeldError, TokenLostError
from coordinator.app.api.session import Session
from coordinator.app.api.wait import Wait
from coordinator.errors import CoordError, DatabaseUnreachableError
from tests.support.fakes.threaded_store import ThreadedStores

#: Long enough for a machine that is busy with other things; nothing that is right waits for it.
WITHIN_S = 60.0


class NoExecutor(ThreadPoolExecutor):
    """An application may have filled the default executor: nothing of coord may need it."""

    def submit(self, *_args: object, **_keys: object) -> object:
        raise AssertionError("the default executor was used")


@pytest.fixture
def stores() -> ThreadedStores:
    return ThreadedStores()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [one.name for one in threading.enumerate() if one.name.startswith("coord-")] == []


def made(stores: ThreadedStores, kind: type = Coordinator):
    """Return a coordinator on these stores."""
    coordinator = kind(group_id="orders", database_url="", heartbeat_frequency=0.5)
    coordinator._session = Session(coordinator._setup, stores)
    return coordinator


def run(main) -> None:
    async def without_executor() -> None:
        asyncio.get_running_loop().set_default_executor(NoExecutor())
        await asyncio.wait_for(main(), WITHIN_S)

    asyncio.run(without_executor())


def test_more_waiters_in_one_loop_than_an_executor_has_threads(stores):
    """Neither a wait nor a release needs a thread that another wait may have taken."""
    inside = done = 0

    async def work(coordinator: AsyncCoordinator) -> None:
        nonlocal inside, done
        async with coordinator.token("x"):
            assert inside == 0
            inside += 1
            await asyncio.sleep(0)
            inside -= 1
            done += 1

    async def main() -> None:
        async with made(stores, AsyncCoordinator) as coordinator:
            await asyncio.gather(*(work(coordinator) for _ in range(40)))

    run(main)

    assert done == 40
    assert stores.held() == stores.living() == []


def test_u2_tasks_that_are_cancelled_at_any_moment_hold_nothing(stores):
    """The moments are drawn: turns of the loop, then times, in which the threads get anywhere."""
    inside = entered = 0

    async def work(coordinator: AsyncCoordinator) -> None:
        nonlocal inside, entered
        async with coordinator.token("x"):
            assert inside == 0
            inside += 1
            entered += 1
            try:
                await asyncio.Event().wait()
            finally:
                inside -= 1

    async def cancelled(coordinator: AsyncCoordinator, draw: random.Random) -> None:
        task = asyncio.create_task(work(coordinator))
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
        async with made(stores, AsyncCoordinator) as coordinator:
            for seed in range(30):
                draw = random.Random(seed)
                await asyncio.gather(*(cancelled(coordinator, draw) for _ in range(4)))
            async with coordinator.token("x", timeout=WITHIN_S):
                assert inside == 0

    run(main)

    assert entered > 0
    assert stores.held() == stores.living() == []


def test_u2_a_task_that_is_thrown_away_with_its_loop_holds_nothing(stores):
    """Nobody can be told of the grant, or of the release, once the loop is closed."""

    async def work() -> None:
        async with coordinator.token("x"):
            granted.set()
            await asyncio.Event().wait()

    coordinator = made(stores, AsyncCoordinator)
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
    coordinator._session.close()

    assert stores.held() == stores.living() == []


def test_u2_a_grant_after_the_loop_was_closed_ends_itself():
    """The coroutine may be kept, and never go on: the grant alone says that nobody is there."""
    reached, closed = threading.Event(), threading.Event()

    def at(moment: str) -> None:
        if moment == "asking Exchange" and not closed.is_set():
            reached.set()
            assert closed.wait(WITHIN_S)

    async def work() -> None:
        async with coordinator.token("x"):
            pytest.fail("the loop is closed")

    stores = ThreadedStores(at)
    coordinator = made(stores, AsyncCoordinator)
    loop = asyncio.new_event_loop()
    task = loop.create_task(work())
    loop.run_until_complete(asyncio.sleep(0))
    assert reached.wait(WITHIN_S)
    task._log_destroy_pending = False
    loop.close()
    closed.set()
    with made(stores) as other, other.token("x", timeout=WITHIN_S) as token:
        assert token.term == 2
    coordinator._session.close()

    assert stores.held() == stores.living() == []


def test_u2_a_grant_that_a_closed_loop_never_passed_on_ends_itself(stores):
    """The loop had taken it, and was closed before the task ran again."""

    async def work() -> None:
        async with coordinator.token("x"):
            pytest.fail("the loop is closed")

    coordinator = made(stores, AsyncCoordinator)
    loop = asyncio.new_event_loop()
    task = loop.create_task(work())
    loop.run_until_complete(asyncio.sleep(0))
    # The loop is open and does not run: what it is told becomes a call that is ready.
    until = time.monotonic() + WITHIN_S
    while not loop._ready:
        assert time.monotonic() < until, "the grant has come"
    task._log_destroy_pending = False
    loop.close()

    with made(stores) as other, other.token("x", timeout=WITHIN_S) as token:
        assert token.term == 2
    coordinator._session.close()


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
        with made(stores) as coordinator, coordinator.token("x") as token:
            token.on_lost(fail)
            token.on_lost(leave)
            token.on_lost(lambda reason: (told.append(reason), lost.set()))
            stores.end_sessions()
            assert lost.wait(WITHIN_S)

    lost = threading.Event()
    with pytest.raises(TokenLostError):
        work()

    assert told == ["first", "second", "the session was ended by another node"]
    raised = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert raised == [ValueError, SystemExit]
    assert {record.name for record in caplog.records} == {"coordinator"}
    assert stores.living() == []


def test_a_waiter_is_told_what_nobody_expected():
    def at(moment: str) -> None:
        raise ArithmeticError("strange")

    with (
        made(ThreadedStores(at)) as coordinator,
        pytest.raises(CoordError, match="ArithmeticError: strange"),
        coordinator.token("x"),
    ):
        pytest.fail("there was no answer")


def test_a_database_that_is_back_is_asked_by_the_next_wait(stores):
    away = True

    def at(moment: str) -> None:
        if moment == "connect" and away:
            raise DatabaseUnreachableError("away")

    stores.at = at
    with made(stores) as coordinator:
        with pytest.raises(DatabaseUnreachableError), coordinator.token("x"):
            pytest.fail("there is no database")
        away = False
        with coordinator.token("x") as token:
            assert token.term == 1


def test_a_first_connection_is_tried_until_the_time_of_its_wait_is_over(stores):
    """Only a wait without a limit is refused by the first try that nobody answers."""
    tries = 0

    def at(moment: str) -> None:
        nonlocal tries
        tries += moment == "connect"
        if moment == "connect" and tries < 3:
            raise DatabaseUnreachableError("away")

    stores.at = at
    with made(stores) as coordinator, coordinator.token("x", timeout=WITHIN_S) as token:
        assert token.term == 1

    assert tries == 3


def test_each_wait_for_a_first_connection_has_its_own_time(stores):
    """A try takes no longer than the wait that began it; who waits for longer waits on."""
    limits: list[float] = []
    refused = threading.Event()

    class Store:
        def __init__(self, facts) -> None:
            self.real = stores(facts)

        def connect(self, timeout_s: float) -> object:
            limits.append(timeout_s)
            if not refused.is_set():
                raise DatabaseUnreachableError("away")
            return self.real.connect(timeout_s)

    coordinator = made(stores)
    coordinator._session = Session(coordinator._setup, Store)
    got: list[int] = []

    def wait_long() -> None:
        with coordinator.token("y", timeout=WITHIN_S) as token:
            got.append(token.term)

    patient = threading.Thread(target=wait_long)
    patient.start()
    with pytest.raises(DatabaseUnreachableError), coordinator.token("x", timeout=0.2):
        pytest.fail("there is no database")
    refused.set()
    patient.join(WITHIN_S)
    coordinator._session.close()

    assert got == [1]
    assert max(limits) <= 5.0


def test_a_close_ends_the_tries_of_a_first_connection():
    tried = threading.Event()

    def at(moment: str) -> None:
        tried.set()
        raise DatabaseUnreachableError("away")

    coordinator = made(ThreadedStores(at))
    refused: list[str] = []

    def wait() -> None:
        with pytest.raises(DatabaseUnreachableError) as told, coordinator.token("x", timeout=600):
            pytest.fail("there is no database")
        refused.append(str(told.value))

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert tried.wait(WITHIN_S)
    coordinator._session.close()
    waiter.join(WITHIN_S)

    assert refused == ["away"]


def test_u7_a_forked_child_holds_nothing_and_may_leave_the_block(stores):
    """U7: its way out must not end the parent's holding, nor wait for threads that it lacks."""
    with made(stores) as coordinator:
        block = coordinator.token("x")
        token = block.__enter__()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                told: list[str] = []
                token.on_lost(told.append)
                assert not token.is_held()
                assert token.seconds_left < 0
                assert told == ["this process is a fork of the one that holds it"]
                with pytest.raises(TokenLostError, match="fork"):
                    block.__exit__(None, None, None)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert token.is_held()
        assert stores.held() == ["orders/x"]

        block.__exit__(None, None, None)

    assert stores.held() == stores.living() == []


def test_closing_refuses_waits_and_gives_nothing_back_under_a_body(stores):
    """U2: a body that runs on keeps its token until its session is over by its silence."""
    coordinator = made(stores)
    refused = threading.Event()

    def wait() -> None:
        with pytest.raises(CoordError, match="closed"), coordinator.token("x"):
            pytest.fail("two bodies")
        refused.set()

    def hold() -> None:
        with coordinator.token("x") as token:
            waiter = threading.Thread(target=wait)
            waiter.start()
            coordinator._session.close(0.2)
            assert refused.wait(WITHIN_S)
            waiter.join(WITHIN_S)
            assert stores.held() == ["orders/x"]
            token.check()

    with pytest.raises(TokenLostError, match="closed"):
        hold()

    assert stores.held() == ["orders/x"]


def test_ends_of_every_kind_leave_no_descriptor_and_no_thread(stores):
    def use() -> None:
        with coordinator.token("x") as token:
            token.check()

    def fail() -> None:
        with pytest.raises(ValueError, match="body"), coordinator.token("x"):
            raise ValueError("body")

    def give_up() -> None:
        impatient = coordinator.token("x", wait=False)
        with coordinator.token("x"), pytest.raises(TokenHeldError), impatient:
            pytest.fail("two holders")

    with made(stores) as coordinator:
        use()
        before = len(os.listdir("/proc/self/fd")), threading.active_count()
        for end in (use, fail, give_up) * 10:
            end()

        # The courier has a selector open while it waits, and none while it asks.
        assert len(os.listdir("/proc/self/fd")) <= before[0] + 1
        assert threading.active_count() == before[1]
    assert stores.held() == stores.living() == []


def test_u2_whoever_is_interrupted_as_its_wait_begins_holds_nothing(stores):
    """A signal may come between the wish and the statement that would have noted it."""

    class Interrupted(Session):
        def ask(self, wait: Wait, token: str, timeout_s: float | None) -> None:
            super().ask(wait, token, timeout_s)
            raise KeyboardInterrupt

    with made(stores) as coordinator:
        real = coordinator._session
        coordinator._session = Interrupted(coordinator._setup, stores)
        with pytest.raises(KeyboardInterrupt), coordinator.token("x"):
            pytest.fail("it was interrupted")
        with made(stores) as other, other.token("x", timeout=WITHIN_S):
            pass
        coordinator._session.close()
        coordinator._session = real

    assert stores.held() == stores.living() == []


def test_a_callback_of_a_loss_may_close_the_coordinator(stores):
    def work() -> None:
        with coordinator.token("x") as token:
            token.on_lost(lambda _reason: coordinator._session.close())
            stores.end_sessions()
            assert token.lost.wait(WITHIN_S)

    coordinator = made(stores)
    with pytest.raises(TokenLostError):
        work()
    life = coordinator._session._life
    assert life is not None
    assert life.thread is not None
    life.thread.join(WITHIN_S)

    assert not coordinator._session.is_open()


def test_no_descriptor_for_a_session_is_told_as_what_it_is(stores):
    def use() -> None:
        with pytest.raises(CoordError, match="Too many open files"), coordinator.token("x"):
            pytest.fail("there is no descriptor")

    coordinator, limits = made(stores), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        use()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with coordinator, coordinator.token("x"):
        pass


def test_u7_the_end_of_a_parent_s_block_leaves_a_child_s_own_holding_alone(stores):
    """U7: holdings of a child have other numbers than those that it has seen in its parent."""
    with made(stores) as coordinator:
        block = coordinator.token("x")
        token = block.__enter__()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                own = ThreadedStores()  # a lock of the other may have been held
                coordinator._session._store = own
                with coordinator.token("y") as mine:
                    with pytest.raises(TokenLostError, match="fork"):
                        block.__exit__(None, None, None)
                    impatient = made(own).token("y", wait=False)
                    with pytest.raises(TokenHeldError), impatient:
                        pytest.fail("two holders")
                    mine.check()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        token.check()
        block.__exit__(None, None, None)

"""Promises of Coordinator, kept by the real one and by FakeCoordinator alike."""

from __future__ import annotations

import inspect
import os
import pickle
import threading
from types import CodeType

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from coordinator import Coordinator, Token, TokenHeldError, TokenLostError
from coordinator.errors import ConfigError, CoordError, UsageError
from coordinator.testing import FakeAsyncCoordinator, FakeCoordinator, FakeToken
from tests.conformance.api.conftest import Maker

#: Long enough for a busy machine; what is right does not wait for it.
WITHIN_S = 60.0


def test_a_token_has_a_name_a_holder_and_a_term_that_rises(maker: Maker):
    terms = []
    for name in ("a", "b", "a"):
        with maker.coordinator(name).token("nightly") as token:
            assert isinstance(token, Token)
            assert token.name == "orders/nightly"
            assert token.node.startswith(f"{name}.")
            assert token.is_held()
            assert 0 < token.seconds_left < 30
            token.check()
            terms.append(token.term)
        assert not token.is_held()
        with pytest.raises(TokenLostError):
            token.check()

    assert terms == [1, 2, 3]


def test_the_group_s_own_token_is_another_than_those_below_it(maker: Maker):
    coordinator = maker.coordinator()

    with coordinator.token() as own, coordinator.token("x") as below:
        assert (own.name, below.name) == ("orders", "orders/x")


def test_who_does_not_wait_is_refused_and_so_is_the_same_name_twice(maker: Maker):
    mine, theirs = maker.coordinator("a"), maker.coordinator("b")

    with mine.token("x"):
        for other in (theirs, mine):
            for limit in ({"wait": False}, {"timeout": 0}, {"timeout": 0.3}):
                with pytest.raises(TokenHeldError, match=r"held by a\."), other.token("x", **limit):
                    pytest.fail("two holders")
    with theirs.token("x", wait=False) as token:
        assert token.term == 2


def test_a_waiter_gets_the_token_when_it_is_given_back(maker: Maker):
    got, terms = threading.Event(), []

    def wait() -> None:
        with maker.coordinator("b").token("x", timeout=WITHIN_S) as token:
            terms.append(token.term)
            got.set()

    waiter = threading.Thread(target=wait)
    with maker.coordinator("a").token("x"):
        waiter.start()
        assert not got.wait(0.2)
    waiter.join(WITHIN_S)

    assert terms == [2]


def test_a_loss_is_told_once_by_every_way_there_is(maker: Maker):
    reasons: list[str] = []

    def lose() -> None:
        with maker.coordinator().token("x") as token:
            token.on_lost(reasons.append)
            maker.take_away("orders/x")
            assert token.lost.wait(WITHIN_S)
            assert token.lost_future.result(WITHIN_S) == reasons[0]
            assert not token.is_held()
            assert token.seconds_left < 0
            with pytest.raises(TokenLostError, match="orders/x"):
                token.check()
            token.on_lost(reasons.append)

    with pytest.raises(TokenLostError, match="session was ended"):
        lose()

    assert len(reasons) == 2
    assert len(set(reasons)) == 1
    with maker.coordinator("b").token("x", timeout=WITHIN_S) as after:
        assert after.term == 2


def test_the_end_of_a_block_is_no_loss(maker: Maker):
    told: list[str] = []
    with maker.coordinator().token("x") as token:
        token.on_lost(told.append)

    assert (told, token.lost.is_set(), token.lost_future.cancelled()) == ([], False, True)


def test_an_error_of_the_body_is_the_one_that_is_raised_and_gives_the_token_back(maker: Maker):
    with pytest.raises(KeyError, match="mine"), maker.coordinator().token("x"):
        raise KeyError("mine")
    with maker.coordinator("b").token("x", timeout=WITHIN_S):
        pass


def test_a_loss_can_be_raised_in_the_block_of_the_main_thread(maker: Maker):
    def lose() -> None:
        with maker.coordinator().token("x", cancel="main-thread"):
            maker.take_away("orders/x")
            threading.Event().wait(WITHIN_S)
            pytest.fail("the block went on")

    with pytest.raises(TokenLostError, match="orders/x"):
        lose()


def test_a_nested_block_shares_the_holding_only_where_it_asks_to(maker: Maker):
    coordinator = maker.coordinator()

    with coordinator.token("x") as outer:
        with coordinator.token("x", reentrant=True) as inner:
            assert inner is outer
        outer.check()


def test_a_decorated_function_holds_the_token_for_each_call(maker: Maker):
    coordinator = maker.coordinator()

    @coordinator.exclusive("x")
    def work(number: int) -> int:
        with pytest.raises(TokenHeldError), maker.coordinator("b").token("x", wait=False):
            pass
        return number + 1

    assert work(1) == 2
    assert work.__name__ == "work"
    with pytest.raises(TypeError, match="generator"):
        coordinator.exclusive("x")(_generator)


def _generator():
    yield


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 300])
def test_a_name_that_no_token_can_have_is_refused(maker: Maker, name: str):
    with pytest.raises(ConfigError, match="name"):
        maker.coordinator().token(name)


@pytest.mark.parametrize("timeout", [-1, "soon"])
def test_a_time_that_is_none_is_refused(maker: Maker, timeout: object):
    with pytest.raises(ConfigError, match="timeout"):
        maker.coordinator().token("x", timeout=timeout)  # type: ignore[arg-type]


def test_a_forked_child_does_not_hold_what_its_parent_holds(maker: Maker):
    with maker.coordinator().token("x") as token:
        child = os.fork()
        if child == 0:
            code = 2
            try:
                token.check()
            except TokenLostError:
                code = 0 if not token.is_held() else 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        token.check()


def test_a_state_is_left_to_the_next_holder(maker: Maker):
    with maker.coordinator("a").token("x") as token:
        assert token.state.get() is None
        assert (token.state.put(b"1"), token.state.put(b"2\0")) == (1, 2)
    with maker.coordinator("b").token("x", timeout=WITHIN_S) as after:
        assert after.state.get() == b"2\0"
        for call in (token.state.get, lambda: token.state.put(b"3")):
            with pytest.raises(TokenLostError):
                call()
        assert after.state.get() == b"2\0"


@pytest.fixture
def work(maker: Maker) -> str:
    with maker.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {maker.table} (number int)")
    return maker.table


def written(maker: Maker) -> list[int]:
    with maker.engine.connect() as connection:
        found = connection.exec_driver_sql(f"SELECT number FROM {maker.table} ORDER BY 1")
        return [number for (number,) in found]


@pytest.mark.parametrize("kind", ["connection", "session"])
def test_a_transaction_is_committed_with_its_state_or_neither_is(
    maker: Maker, work: str, kind: str
):
    insert = sa.text(f"INSERT INTO {work} VALUES (:n)")

    def fail(token: Token, given: sa.Connection | Session) -> None:
        with token.transaction(given):
            given.execute(insert, {"n": 2})
            raise KeyError

    def write(given: sa.Connection | Session) -> None:
        with maker.coordinator().token("x") as token:
            with token.transaction(given) as same:
                assert same is given
                given.execute(insert, {"n": 1})
            with pytest.raises(KeyError):
                fail(token, given)
            maker.take_away("orders/x")
            assert token.lost.wait(WITHIN_S)
            with pytest.raises(TokenLostError), token.transaction(given):
                given.execute(insert, {"n": 3})

    opened = maker.engine.connect() if kind == "connection" else Session(maker.engine)
    with opened as given, pytest.raises(TokenLostError):
        write(given)

    assert written(maker) == [1]


def test_a_state_is_saved_with_the_transaction(maker: Maker, work: str):
    def fail(token: Token) -> None:
        with token.transaction() as connection:
            token.state.put_in(connection, b"two")
            raise KeyError

    with maker.coordinator().token("x") as token:
        with token.transaction() as connection:
            token.state.put_in(connection, b"one")
            assert token.state.get_in(connection) == b"one"
        with pytest.raises(KeyError):
            fail(token)
        assert token.state.get() == b"one"


def test_a_checkpoint_is_left_to_the_next_holder(maker: Maker, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"content")
    with maker.coordinator("a").token("x") as token:
        assert not token.restore(tmp_path / "none")
        assert [token.checkpoint(each) for each in (b"bytes", tmp_path / "folder")] == [1, 2]

    with maker.coordinator("b").token("x") as later:
        assert later.restore(tmp_path / "again")
        with pytest.raises(UsageError, match="something already"):
            later.restore(tmp_path / "again")

    with pytest.raises(TokenLostError):
        token.checkpoint(b"late")
    assert (tmp_path / "again" / "file").read_bytes() == b"content"


def test_an_open_transaction_cannot_be_fenced_afterwards(maker: Maker):
    with maker.coordinator().token("x") as token, maker.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(UsageError, match="open"), token.transaction(connection):
            pass


def test_a_loss_ends_the_wait_for_another_token_inside_the_block(maker: Maker):
    """Of two tokens that a block needs, the wait for the second must not outlive the first."""
    mine, theirs = maker.coordinator("a"), maker.coordinator("b")

    def lose() -> None:
        with mine.token("x", cancel="main-thread") as token:
            held = threading.Timer(0.3, maker.take_away, ("orders/x",))
            held.start()
            try:
                with mine.token("y", timeout=WITHIN_S):
                    pytest.fail("two holders")
            finally:
                held.join()
                assert token.lost.is_set()

    with theirs.token("y"), pytest.raises(TokenLostError, match="orders/x"):
        lose()
    with theirs.token("y", timeout=WITHIN_S) as after:
        assert after.term == 2


def test_a_wait_ends_when_its_coordinator_is_closed(maker: Maker):
    mine, theirs = maker.coordinator("a"), maker.coordinator("b")
    told: list[str] = []

    def wait() -> None:
        with pytest.raises(CoordError, match="closed"), mine.token("x"):
            pytest.fail("two holders")
        told.append("closed")

    with theirs.token("x"):
        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        waiter.join(0.3)
        mine.close()
        waiter.join(WITHIN_S)
    with pytest.raises(CoordError, match="closed"), mine.token("x"):
        pytest.fail("it is closed")

    assert told == ["closed"]


# --- the fake alone -------------------------------------------------------------------------------


def test_the_fake_has_every_name_and_argument_of_the_port():
    for fake, real in ((FakeCoordinator, Coordinator), (FakeToken, Token)):
        for name, member in vars(real).items():
            if name.startswith("_"):
                continue
            own = getattr(fake, name)
            if inspect.isfunction(member) or isinstance(member, classmethod):
                asked = list(inspect.signature(getattr(real, name)).parameters)
                assert list(inspect.signature(own).parameters) == asked, name


def test_nothing_that_the_fake_inherits_needs_a_session():
    for fake in (FakeCoordinator, FakeAsyncCoordinator):
        for name in dir(fake):
            function = inspect.unwrap(getattr(fake, name))
            if not inspect.isfunction(function) or name in ("_begin", "__del__"):
                continue
            assert "_session" not in _names(function.__code__), f"{name} would need a database"


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return {*code.co_names}.union(*map(_names, inner))


def test_a_deadline_can_pass_before_anybody_is_told():
    """A frozen process finds out only by a check."""
    coordinator = FakeCoordinator(group_id="orders")

    def freeze() -> None:
        with coordinator.token() as token:
            coordinator.tokens.expire("orders")
            assert not token.lost.is_set()
            assert not token.is_held()

    with pytest.raises(TokenLostError):
        freeze()


def test_a_fake_without_an_engine_says_what_a_transaction_needs():
    with FakeCoordinator().token() as token, pytest.raises(UsageError, match="engine"):
        token.transaction()


def test_a_fake_is_not_sent_to_another_process_as_a_real_coordinator():
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(FakeCoordinator())


def test_who_does_not_wait_is_not_put_behind_others_while_a_token_is_given_back():
    coordinator = FakeCoordinator(group_id="orders")
    refused: list[str] = []

    def ask(_end: object) -> None:
        with pytest.raises(TokenHeldError) as told, coordinator.token(wait=False):
            pytest.fail("it went before the one that waits")
        refused.append(str(told.value))

    def wait() -> None:
        with coordinator.token(timeout=WITHIN_S):
            pass

    waiter = threading.Thread(target=wait)
    with coordinator.token() as token:
        waiter.start()
        while not coordinator.tokens.waiting("orders"):
            waiter.join(0.01)
        token.lost_future.add_done_callback(ask)
    waiter.join(WITHIN_S)

    assert len(refused) == 1


def test_a_fake_is_made_as_a_real_one_is(tmp_path):
    path = tmp_path / "Config.toml"
    path.write_text('groupId = "orders"\ntaskId = "a"\n')
    engine = sa.create_engine("sqlite://")
    for made in (
        FakeCoordinator.from_config(str(path)),
        FakeCoordinator.from_engine(engine, group_id="orders", task_id="a"),
        FakeAsyncCoordinator.from_config(str(path)),
        FakeAsyncCoordinator.from_engine(engine, group_id="orders"),
    ):
        assert made.group_id == "orders"
    with FakeCoordinator.from_engine(engine, group_id="orders").token() as token:
        with token.transaction() as connection:
            assert connection.engine is engine
        assert token.node.startswith("node-1.")

"""coord_save_state in a user's own transaction: fenced, bounded, and counted without a gap."""

from __future__ import annotations

import threading
import uuid

import psycopg
import pytest

from coordinator.protocol.rules.saved_state import STATE_BYTES_MAX, STATES_KEPT
from tests.conftest import Database
from tests.support.servers.postgres import wait_until

pytestmark = pytest.mark.real

MINE = str(uuid.UUID(int=1))
THEIRS = str(uuid.UUID(int=2))
SAVE = "SELECT coord_save_state('orders', %s, %s, %s)"
ALL = "SELECT sequence, content FROM token_state ORDER BY sequence"


@pytest.fixture
def held(database: Database) -> Database:
    """Node a holds orders in term 7."""
    database.query(
        "INSERT INTO health_check (group_id, task_id, session) VALUES ('orders', 'a', %s)", MINE
    )
    database.query(
        "INSERT INTO token_holder (group_id, task_id, session, term) VALUES ('orders', 'a', %s, 7)",
        MINE,
    )
    return database


@pytest.mark.parametrize(
    ("term", "session", "state"), [(6, MINE, "CF001"), (8, MINE, "CF001"), (7, THEIRS, "CF001")]
)
def test_only_the_current_holding_saves(held: Database, term: int, session: str, state: str):
    """Y1"""
    with pytest.raises(psycopg.Error) as caught:
        held.query(SAVE, term, session, b"x")

    assert caught.value.sqlstate == state
    assert held.query(ALL) == []


def test_a_null_and_a_state_that_is_too_large_are_refused_with_their_own_words(held: Database):
    """Y3"""
    for content, state, words in (
        (None, "22004", "must not be NULL"),
        (b"x" * (STATE_BYTES_MAX + 1), "54000", "1048577 bytes"),
    ):
        with pytest.raises(psycopg.Error, match=words) as caught:
            held.query(SAVE, 7, MINE, content)
        assert caught.value.sqlstate == state
    assert held.query(ALL) == []


def test_as_many_states_are_kept_as_is_said_and_each_new_one_replaces_the_oldest(held: Database):
    """Y3"""
    count = STATES_KEPT + 3
    for number in range(1, count + 1):
        assert held.query(SAVE, 7, MINE, b"%d" % number) == [(number,)]

    kept = range(count - STATES_KEPT + 1, count + 1)
    assert held.query(ALL) == [(number, b"%d" % number) for number in kept]
    assert held.query("SELECT DISTINCT term, node, session::text FROM token_state") == [
        (7, "a", MINE)
    ]


def test_a_state_is_saved_with_the_users_own_work_or_not_at_all(held: Database):
    """Y2"""
    held.query("CREATE TABLE done (id int)")
    with held.connect() as user:
        user.execute("BEGIN")
        user.execute("INSERT INTO done VALUES (1)")
        assert user.execute(SAVE, (7, MINE, b"1")).fetchone() == (1,)
        user.execute("ROLLBACK")

    assert held.query("SELECT * FROM done") == held.query(ALL) == []


def test_two_transactions_of_one_holder_that_save_at_once_get_two_sequences(held: Database):
    """Y3: the second waits at the first one's row, and then counts anew."""
    saved: list[int] = []

    def second() -> None:
        saved.append(held.query(SAVE, 7, MINE, b"second")[0][0])

    with held.connect() as user:
        with user.transaction():
            assert user.execute(SAVE, (7, MINE, b"first")).fetchone() == (1,)
            other = threading.Thread(target=second)
            other.start()
            blocked = f"SELECT 1 FROM pg_stat_activity WHERE {user.info.backend_pid} = ANY ("
            blocked += "pg_blocking_pids(pid))"
            wait_until(lambda: held.query(blocked))
        other.join()

    assert saved == [2]
    assert held.query(ALL) == [(1, b"first"), (2, b"second")]


def test_a_take_waits_for_a_transaction_that_saves_and_what_it_saved_is_there_then(
    held: Database,
):
    """Y1: no commit of an older holder comes after the take."""
    with held.connect() as user, held.connect() as taker:
        taker.execute("SET lock_timeout = '50ms'")
        with user.transaction():
            user.execute(SAVE, (7, MINE, b"last"))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                taker.execute(
                    "UPDATE token_holder SET task_id = 'b', session = %s, term = 8", (THEIRS,)
                )
        taker.execute("UPDATE token_holder SET task_id = 'b', session = %s, term = 8", (THEIRS,))

    assert held.query("SELECT coord_read_state('orders')") == [(b"last",)]


def test_a_cursor_is_the_same_state_and_one_that_is_not_json_is_told_so(held: Database):
    """Y3"""
    held.query(
        "INSERT INTO token_holder (group_id, task_id, session, term)"
        " VALUES ('orders/mail', 'a', %s, 3)",
        MINE,
    )
    held.query("SELECT coord_save_cursor('orders', 'mail', 3, %s, '{\"upto\": 1}')", MINE)
    assert held.query("SELECT coord_read_state('orders/mail')") == [(b'{"upto": 1}',)]

    held.query("SELECT coord_save_state('orders/mail', 3, %s, %s)", MINE, b"\x00\xff")
    with pytest.raises(psycopg.Error, match="the state of task 'mail' is not JSON") as caught:
        held.query("SELECT coord_read_cursor('orders', 'mail')")
    assert caught.value.diag.message_hint

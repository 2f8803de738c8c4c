"""coord_fence: a transaction of the user's that can only commit while its token is current."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.conftest import Database

MINE = str(uuid.UUID(int=1))
THEIRS = str(uuid.UUID(int=2))


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


def fence(database: Database, term: int, session: str | None = None, group: str = "orders") -> None:
    database.query("SELECT coord_fence(%s, %s, %s)", group, term, session)


def refusal(
    database: Database, term: int, session: str | None = None, group: str = "orders"
) -> str:
    with pytest.raises(psycopg.Error) as caught:
        fence(database, term, session, group)
    assert caught.value.sqlstate == "CF001"
    assert caught.value.diag.message_hint
    return str(caught.value.diag.message_primary)


def test_the_current_term_passes_with_or_without_its_session(held: Database):
    fence(held, 7)
    fence(held, 7, MINE)


@pytest.mark.parametrize("term", [6, 8])
def test_another_term_is_refused(held: Database, term: int):
    assert refusal(held, term).endswith("is not current: the token is in term 7")


def test_another_session_is_refused(held: Database):
    assert "another session" in refusal(held, 7, THEIRS)


def test_an_unknown_group_is_refused(held: Database):
    assert "no such group" in refusal(held, 7, group="payments")


def test_a_released_token_is_refused(held: Database):
    held.query("UPDATE token_holder SET session = NULL")

    assert "was released" in refusal(held, 7, MINE)


@pytest.mark.parametrize(
    "change", ["ended_at = now()", f"session = '{THEIRS}'", "session = NULL", "task_id = 'b'"]
)
def test_a_holder_whose_session_is_over_is_refused(held: Database, change: str):
    held.query(f"UPDATE health_check SET {change}")

    assert "session of its holder has ended" in refusal(held, 7, MINE)


def test_a_token_of_a_task_is_fenced_by_its_holders_session(held: Database):
    held.query(
        "INSERT INTO token_holder (group_id, task_id, session, term)"
        " VALUES ('orders/mail', 'a', %s, 3)",
        MINE,
    )

    fence(held, 3, MINE, "orders/mail")
    held.query("UPDATE health_check SET ended_at = now()")

    assert "has ended" in refusal(held, 3, MINE, "orders/mail")


def test_a_takeover_waits_for_the_fenced_commit(held: Database):
    take = "UPDATE token_holder SET term = 8, session = %s WHERE group_id = 'orders'"
    with held.connect() as user, held.connect() as taker:
        taker.execute("SET lock_timeout = '100ms'")
        user.execute("BEGIN")
        user.execute("SELECT coord_fence('orders', 7)")

        with pytest.raises(psycopg.errors.LockNotAvailable):
            taker.execute(take, (THEIRS,))
        user.execute("COMMIT")
        taker.execute(take, (THEIRS,))

    assert "term 8" in refusal(held, 7)


def test_beats_go_on_under_a_fence(held: Database):
    with held.connect() as user, held.connect() as beater:
        beater.execute("SET lock_timeout = '100ms'")
        user.execute("BEGIN")
        user.execute("SELECT coord_fence('orders', 7)")

        done = beater.execute("UPDATE health_check SET beat = beat + 1 WHERE task_id = 'a'")

        assert done.rowcount == 1


def test_a_fence_can_be_found_in_the_locks_of_the_server(held: Database):
    key = "hashtextextended('coord_fence:' || %s || ':orders:' || pid, 0)"
    query = (
        f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        f" AND (classid::bigint << 32) | objid::bigint = {key}"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with held.connect() as user:
        user.execute("BEGIN")
        user.execute("SELECT coord_fence('orders', 7)")

        assert held.query(query, held.schema) == [(user.info.backend_pid,)]


def test_a_search_path_of_the_caller_changes_nothing(held: Database):
    with psycopg.connect(held.conninfo) as user:
        user.execute("CREATE TEMPORARY TABLE token_holder (group_id text, term bigint)")
        user.execute("SET LOCAL search_path = pg_temp")

        user.execute(f"SELECT {held.schema}.coord_fence('orders', 7)")

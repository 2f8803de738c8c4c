"""The views that people read with psql: ages by the server's clock, one row per group or node."""

from __future__ import annotations

import uuid

import pytest

from tests.conftest import Database

MINE = str(uuid.UUID(int=1))
THEIRS = str(uuid.UUID(int=2))


def add_node(
    database: Database, node: str, session: str, age_s: float, *, ended: bool = False, **more: int
) -> None:
    """A node that beats every second, and is dead after six."""
    database.query(
        "INSERT INTO group_record (group_id) VALUES ('orders') ON CONFLICT DO NOTHING",
    )
    database.query(
        "INSERT INTO health_check (group_id, task_id, session, beat, last_heartbeat, started_at,"
        " liveness_ms, lease_ms, heartbeat_ms, ended_at, priority, host, pid)"
        " VALUES ('orders', %s, %s, 7, clock_timestamp() - make_interval(secs => %s),"
        " clock_timestamp() - interval '100 s', 6000, 4700, 1000,"
        " CASE WHEN %s THEN clock_timestamp() END, %s, 'web', 42)",
        node,
        session,
        age_s,
        ended,
        more.get("priority", 1),
    )


def give_token(database: Database, node: str, session: str | None, term: int) -> None:
    database.query(
        "INSERT INTO token_holder (group_id, task_id, session, term, acquired_at, released_at)"
        " VALUES ('orders', %s, %s, %s, clock_timestamp() - interval '50 s',"
        " CASE WHEN %s::uuid IS NULL THEN clock_timestamp() - interval '2 s' END)",
        node,
        session,
        term,
        session,
    )


def status(database: Database, *columns: str) -> tuple[object, ...]:
    (row,) = database.query(f"SELECT {', '.join(columns)} FROM coord_status")
    return row


def test_an_active_group_names_its_holder_and_counts_its_standbys(database: Database):
    add_node(database, "a", MINE, 0.5)
    add_node(database, "b", THEIRS, 0.1)
    add_node(database, "gone", str(uuid.uuid4()), 60)
    give_token(database, "a", MINE, 3)

    row = status(database, "state", "task_id", "term", "standby_count", "leaderless_s")

    assert row == ("active", "a", 3, 1, 0.0)
    age, left = status(database, "beat_age_s", "lease_left_s")
    assert 0.5 <= age < 3
    assert left == pytest.approx(4.7 - age)


def test_a_silent_holder_leaves_its_group_leaderless_since_its_last_beat(database: Database):
    add_node(database, "a", MINE, 20)
    add_node(database, "b", THEIRS, 0.1)
    give_token(database, "a", MINE, 3)

    row = status(database, "state", "task_id", "last_task_id", "standby_count", "lease_left_s")

    assert row == ("leaderless", None, "a", 1, None)
    (leaderless,) = status(database, "leaderless_s")
    assert 20 <= leaderless < 25


def test_a_released_token_with_live_nodes_is_leaderless_since_the_release(database: Database):
    add_node(database, "b", THEIRS, 0.1)
    give_token(database, "a", None, 3)

    state, leaderless, standbys = status(database, "state", "leaderless_s", "standby_count")

    assert (state, standbys) == ("leaderless", 1)
    assert 2 <= leaderless < 7


def test_a_group_that_everybody_left_is_idle(database: Database):
    add_node(database, "a", MINE, 0.1, ended=True)
    give_token(database, "a", None, 3)

    assert status(database, "state", "task_id", "leaderless_s") == ("idle", None, None)


def test_a_group_that_nobody_ever_held_is_leaderless_while_somebody_waits(database: Database):
    add_node(database, "b", THEIRS, 0.1)

    assert status(database, "state", "term", "standby_count") == ("leaderless", 0, 1)


def test_nodes_are_ok_late_dead_or_ended_by_their_own_intervals(database: Database):
    add_node(database, "a", MINE, 0.1)
    add_node(database, "b", str(uuid.uuid4()), 3)
    add_node(database, "c", str(uuid.uuid4()), 60)
    add_node(database, "d", str(uuid.uuid4()), 0.1, ended=True)
    give_token(database, "a", MINE, 3)

    rows = database.query("SELECT task_id, role, state FROM coord_nodes ORDER BY task_id")

    assert rows == [
        ("a", "active", "ok"),
        ("b", "standby", "late"),
        ("c", "standby", "dead"),
        ("d", "standby", "ended"),
    ]


def test_history_counts_gaps_from_when_the_holding_before_was_active(database: Database):
    for term, node, acquired, active_until, before in (
        (1, "a", "0 s", "0 s", None),
        (3, "b", "6.41 s", "60 s", "a"),
        (4, "a", "59 s", None, "b"),
        (5, "c", "99 s", None, "b"),
    ):
        database.query(
            "INSERT INTO token_history (group_id, term, task_id, session, acquired_at, how,"
            " active_until, from_task) VALUES ('orders', %s, %s, %s, '2026-01-01Z'::timestamptz"
            " + %s::interval, 'x', '2026-01-01Z'::timestamptz + %s::interval, %s)",
            *(term, node, MINE, acquired, active_until, before),
        )

    rows = database.query("SELECT term, gap_s FROM coord_history ORDER BY term")

    # Term 4 began while term 3 was active; the holding before term 5 is not the one it names.
    assert rows == [(1, None), (3, 6.41), (4, -1.0), (5, None)]

"""Retention, the deletion of groups, and the end of dead holders: what goes, and what must stay."""

from __future__ import annotations

import psycopg
import pytest

from coordinator.app.admin.cleaning.housekeeper import Housekeeper
from coordinator.errors import DatabaseRefusedError
from coordinator.store.admin.cleaning import retention, tokens
from coordinator.store.admin.connection import AdminConnection
from tests.conftest import Database
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real

EVENT = "INSERT INTO event (group_id, at, kind) VALUES (%s, now() - make_interval(days => %s), 'x')"
TERM = """
INSERT INTO token_history (group_id, term, task_id, session, acquired_at, ended_at, how)
SELECT %s, number, 'a', gen_random_uuid(), now() - interval '500 days',
    CASE WHEN number > 1 THEN now() - interval '499 days' END, 'release'
FROM generate_series(1, %s) AS number
"""
TASK = """
INSERT INTO task (group_id, name, deleted, changed_at)
VALUES ('g', %s, %s, now() - make_interval(days => %s))
"""
TOLD = "INSERT INTO task_node (group_id, task, node) VALUES ('g', %s, 'a')"


@pytest.fixture
def admin(database: Database):
    connection = AdminConnection(database.conninfo, database.schema, "db", 5.0)
    yield connection
    connection.close()


def count(database: Database, table: str, where: str = "true") -> object:
    return database.query(f"SELECT count(*) FROM {table} WHERE {where}")[0][0]


def pruned(admin: AdminConnection, group: str) -> int:
    gone = 0
    while step := retention.prune_step(admin, group):
        gone += step
    return gone


def test_old_events_go_and_those_of_other_groups_stay(database, admin) -> None:
    with database.connect() as sql:
        for group in ("g", "g/task", "gg", "g.x"):
            for days in (31, 29):
                sql.execute(EVENT, (group, days))

    assert pruned(admin, "g") == 2

    assert count(database, "event", "group_id IN ('g', 'g/task')") == 2
    assert count(database, "event", "group_id IN ('gg', 'g.x')") == 4


def test_more_events_than_are_kept_go_from_the_oldest(database, admin) -> None:
    with database.connect() as sql:
        for days in (5, 4, 3, 2, 1):
            sql.execute(EVENT, ("g", days))
    limits = retention.Limits(event_rows=2)

    gone = 0
    while step := retention.prune_step(admin, "g", limits):
        gone += step

    assert gone == 3
    ages = database.query("SELECT extract(day FROM now() - at)::int FROM event ORDER BY id")
    assert ages == [(2,), (1,)]


def test_the_last_hundred_terms_and_every_open_one_stay(database, admin) -> None:
    """N1: a row that was lost is made anew from its history."""
    with database.connect() as sql:
        sql.execute(TERM, ("g", 150))

    assert pruned(admin, "g") == 49

    kept = database.query("SELECT min(term), max(term), count(*) FROM token_history")
    assert kept == [(1, 150, 101)]


def test_a_deleted_task_goes_with_what_was_kept_of_it(database, admin) -> None:
    """N2: the row of its token stays."""
    with database.connect() as sql:
        for name, deleted, days in (("old", True, 31), ("new", True, 29), ("live", False, 90)):
            sql.execute(TASK, (name, deleted, days))
            sql.execute(TOLD, (name,))
        sql.execute("INSERT INTO token_holder (group_id, task_id, term) VALUES ('g/old', 'a', 7)")

    pruned(admin, "g")

    assert database.query("SELECT name FROM task ORDER BY 1") == [("live",), ("new",)]
    assert database.query("SELECT task FROM task_node ORDER BY 1") == [("live",), ("new",)]
    assert database.query("SELECT term FROM token_holder WHERE group_id = 'g/old'") == [(7,)]


def test_a_node_may_prune_its_own_group_by_the_fixed_limits_only(database, roles) -> None:
    with database.connect() as sql:
        sql.execute(EVENT, ("g", 31))
    node = AdminConnection(roles.login("node", "g"), database.schema, "db", 5.0)
    try:
        assert retention.prune_step(node, "g") == 1
        with pytest.raises(DatabaseRefusedError):
            retention.prune_step(node, "other")
        with pytest.raises(DatabaseRefusedError):
            retention.prune_step(node, "g", retention.Limits())
        with pytest.raises(DatabaseRefusedError):
            retention.delete_group(node, "g")
    finally:
        node.close()


def test_an_administrator_cleans_without_a_right_to_delete(database, roles) -> None:
    with joined_nodes(database, "a") as (node,):
        node.release(node.win())
    login = AdminConnection(roles.login("system_administrator"), database.schema, "db", 5.0)
    group = str(database.query("SELECT group_id FROM group_record")[0][0])
    try:
        retention.prune_step(login, group, retention.Limits())
        database.query("UPDATE health_check SET ended_at = now()")
        assert retention.delete_group(login, group) is None
    finally:
        login.close()
    with psycopg.connect(roles.login("system_administrator")) as sql, pytest.raises(psycopg.Error):
        sql.execute(f"DELETE FROM {database.schema}.event")


def test_a_housekeeper_cleans_while_it_holds_and_stops_when_it_does_not(database) -> None:
    with database.connect() as sql:
        for _ in range(3):
            sql.execute(EVENT, ("g", 31))

    def connect() -> AdminConnection:
        return AdminConnection(database.conninfo, database.schema, "db", 5.0)

    keeper = Housekeeper(connect, "g", lambda: False, seed="g/a")
    keeper.stop()

    assert keeper.clean() == 3
    assert count(database, "event") == 0


def test_a_group_is_not_deleted_while_a_node_lives_and_its_terms_go_on(database, admin) -> None:
    """N2: a term never starts again."""
    with joined_nodes(database, "a") as (node,):
        group = str(database.query("SELECT group_id FROM group_record")[0][0])
        term = node.win()

        assert "these nodes live, or hold a token: a" in str(retention.delete_group(admin, group))

        database.query("UPDATE health_check SET last_heartbeat = now() - interval '1 day'")
        assert "hold a token" in str(retention.delete_group(admin, group))
        database.query("UPDATE health_check SET ended_at = now()")
        assert retention.delete_group(admin, group) is None

    for table in ("group_record", "health_check", "event", "token_history"):
        assert count(database, table) == 0
    with joined_nodes(database, "b") as (node,):
        assert node.win() > term


def test_a_group_that_is_not_there_is_told(admin) -> None:
    assert retention.delete_group(admin, "nope") == "there is no such group"


def test_a_holder_is_ended_only_with_the_beat_that_was_seen(database, admin) -> None:
    """R1: one more beat, and it lives."""
    with joined_nodes(database, "a") as (node,):
        node.win()
        (row,) = tokens.tokens(admin, None)
        database.query("UPDATE health_check SET beat = beat + 1")

        assert tokens.end_holder(admin, row, who="ana", reason="gone") is None

        (row,) = tokens.tokens(admin, None)
        assert tokens.end_holder(admin, row, who="ana", reason="gone") == 1

    (free,) = tokens.tokens(admin, None)
    assert (free["state"], free["node"], free["term"]) == ("free", None, 1)
    ended = database.query("SELECT end_how, end_reason FROM token_history")
    assert ended == [("release", "gone")]

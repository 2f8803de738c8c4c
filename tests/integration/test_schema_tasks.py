"""Views of task groups in psql, and the names that the database keeps well-formed."""

from __future__ import annotations

import psycopg
import pytest

from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.messages.task_requests import Decide, EndSession, ReportTasks, TaskReport
from tests.conformance.team import give, over, read, take, watched
from tests.conformance.worlds import PostgresWorld
from tests.integration.test_store_tasks import members
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real


def states(database) -> dict[object, tuple[object, object]]:
    rows = database.query("SELECT task, state, node FROM sys_ongoing_tasks")
    return {task: (state, node) for task, state, node in rows}


def tell(node, state: str, *, term: int = 1, error: str = "") -> None:
    told = (TaskReport(task="mail", state=state, term=term, error=error),)
    assert node.ask(ReportTasks(session=node.session, version=7, told=told)).done


def test_the_states_of_a_task_are_seen_in_their_order(database):
    """K5: a dead node's tasks are stuck, and then taken."""
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        term = first.win()
        assert states(database) == {"mail": ("waiting", None)}
        take(second, "mail")
        assert states(database) == {"mail": ("starting", "b")}
        tell(second, "running")
        assert states(database) == {"mail": ("running", "b")}
        seen = watched(first)["b"]
        end = EndSession(node="b", session=seen.session, beat=seen.beat, reason="silent")
        version = read(first).version
        decide = Decide(session=first.session, term=term, version=version, decisions=(end,))
        assert first.ask(decide).done
        assert states(database) == {"mail": ("stuck", "b")}
        take(first, "mail")
        assert states(database) == {"mail": ("starting", "a")}
        tell(first, "running", term=2)
        assert states(database) == {"mail": ("running", "a")}
        PostgresWorld(database).define(TaskDef(name="mail", enabled=False))
        assert states(database) == {"mail": ("disabled", "a")}
        give(first, over("mail", 2))
        assert states(database) == {"mail": ("disabled", None)}
        PostgresWorld(database).delete("mail")
        assert states(database) == {}


def test_a_task_of_a_silent_node_is_stuck_before_anybody_has_ended_it(database):
    with members(database, "a", tasks=("mail",)) as (first,):
        take(first, "mail")
        tell(first, "running")

        PostgresWorld(database).pass_time(7.0)

    assert states(database) == {"mail": ("stuck", "a")}


def test_each_task_is_shown_for_each_node(database):
    """H11: per task and node, with the last error."""
    with members(database, "a", "b", "c", tasks=("mail",)) as (first, second, third):
        take(first, "mail")
        tell(first, "backing off", error="exit status 3")
        tell(second, "idle", error="exit status 4")
        tell(third, "apart")

    rows = database.query("SELECT node, state, last_error FROM sys_task_nodes ORDER BY node")
    assert rows == [
        ("a", "backing off", "exit status 3"),
        ("b", "NotOnThisNode", "exit status 4"),
        ("c", "apart", None),
    ]
    last = database.query("SELECT last_error, told, since IS NULL FROM sys_ongoing_tasks")
    assert last == [("exit status 4", "backing off", False)]


def test_nodes_are_shown_with_their_standing_and_what_they_hold(database):
    with members(database, "a", "b", tasks=("mail", "report")) as (first, second):
        first.win()
        take(second, "mail", "report")
        tell(second, "running")

    rows = database.query(
        "SELECT node, standing, state, task_count, observer, seen_version, caught_up"
        " FROM sys_nodes ORDER BY node"
    )
    assert rows == [
        ("a", "member", "ok", 0, True, None, False),
        ("b", "member", "ok", 2, False, 7, False),
    ]


def test_the_status_of_a_task_group_is_that_of_its_observer(database):
    with joined_nodes(database, "a", "b", hosts_tasks=True) as (_, second):
        status = "SELECT group_id, state, task_id, term, standby_count FROM coord_status"
        assert database.query(status) == [("orders", "leaderless", None, 0, 2)]
        second.win()

        assert database.query(status) == [("orders", "active", "b", 1, 1)]
        roles = "SELECT task_id, role FROM coord_nodes ORDER BY task_id"
        assert database.query(roles) == [("a", "standby"), ("b", "active")]


def test_decisions_are_kept_with_their_reasons(database):
    """H10"""
    with members(database, "a", "b") as (first, second):
        first.win()
        second.take(second.look(), reason="no beat for 6 s")

    rows = database.query(
        "SELECT observer, term, node, kind, before, after, reason FROM sys_observer_decisions"
    )
    assert rows == [("b", 2, "a", "ended", "member", "rehab", "no beat for 6 s")]


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["health_check", "token_holder"])
@pytest.mark.parametrize("column", ["group_id", "task_id"])
@pytest.mark.parametrize("name", ["", "a b", "a'b", "a\nb", "x" * 257])
def test_a_malformed_name_is_refused_under_the_name_of_its_rule(database, table, column, name):
    insert = f"INSERT INTO {table} (group_id, task_id) VALUES (%s, %s)"
    database.query(insert, "orders", "a")
    values = {"group_id": "other", "task_id": "b"} | {column: name}

    for deed in (
        (insert, values["group_id"], values["task_id"]),
        (f"UPDATE {table} SET {column} = %s", name),
    ):
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            database.query(*deed)
        assert caught.value.diag.constraint_name == f"{table}_{column}_check"
        assert caught.value.diag.table_name == table

    assert database.query(f"SELECT group_id, task_id FROM {table}") == [("orders", "a")]


def test_nothing_looks_at_a_name_that_a_beat_does_not_write(database):
    """A check or a BEFORE trigger would cost every beat; the names are checked when written."""
    query = (
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 'health_check'::regclass"
        " AND contype = 'c'"
    )
    assert database.query(query) == [(0,)]
    before = (
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'health_check'::regclass"
        " AND tgtype & 2 = 2"
    )
    assert database.query(before) == [(0,)]


@pytest.mark.parametrize("name", ["_observer", "a/b", "a b", "", "x" * 250])
def test_a_task_that_no_node_could_hold_is_refused_by_the_database(database, name):
    with pytest.raises(psycopg.errors.CheckViolation):
        database.query("INSERT INTO task (group_id, name) VALUES ('orders', %s)", name)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO task (group_id, name, nodes) VALUES ('G', 't', ARRAY[NULL])",
        "INSERT INTO task (group_id, name, nodes) VALUES ('G', 't', ARRAY[ARRAY['a'], ARRAY['b']])",
        "INSERT INTO task (group_id, name, stop_timeout_ms) VALUES ('G', 't', -1)",
        "INSERT INTO task (group_id, name, progress_ms) VALUES ('G', 't', -1)",
    ],
)
def test_what_no_node_could_read_is_not_written(database, statement):
    """Every node of a group reads every task: one bad row must not end them all."""
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.FeatureNotSupported)):
        database.query(statement)


def test_a_group_and_a_task_never_share_a_token(database):
    """The token of task t of group G is G/t, and so would be that of a group of this name."""
    database.query("INSERT INTO task (group_id, name) VALUES ('G', 't')")
    database.query("INSERT INTO group_record (group_id) VALUES ('H/t')")

    with pytest.raises(psycopg.errors.CheckViolation, match="a task has the token 'G/t'"):
        database.query("INSERT INTO group_record (group_id) VALUES ('G/t')")
    with pytest.raises(psycopg.errors.CheckViolation, match="there is a group 'H/t'"):
        database.query("INSERT INTO task (group_id, name) VALUES ('H', 't')")
    with pytest.raises(psycopg.errors.CheckViolation, match="reserved"):
        database.query("INSERT INTO group_record (group_id) VALUES ('G/_observer')")

    database.query("UPDATE task SET deleted = true")
    database.query("INSERT INTO group_record (group_id) VALUES ('G/t')")
    with pytest.raises(psycopg.errors.CheckViolation, match="there is a group"):
        database.query("UPDATE task SET deleted = false")

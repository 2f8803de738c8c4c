"""CREATE TASK and CANCEL TASK against the database: the examples, and every refusal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from coordinator.app.admin.operations.parse import parse
from coordinator.errors import CoordError, DatabaseRefusedError, StatementError
from coordinator.protocol.operations.statement import CreateTask
from coordinator.store.operations.people import Operations
from tests.support.bounds import within
from tests.support.servers.catalogue import CLUSTER, ID, fill_catalogue, offer
from tests.support.servers.roles import Roles
from tests.support.statements import BAD_MEANING, BAD_SYNTAX, CANCEL, EXAMPLES

pytestmark = pytest.mark.real


@pytest.fixture
def people(database) -> Iterator[Operations]:
    fill_catalogue(database)
    with Operations(database.conninfo, database.schema, "here", 9.0) as store:
        yield store


def run(people: Operations, text: str) -> str:
    parsed = parse(text)
    return people.run(parsed.statement, parsed.at)


def counts(database) -> list[Any]:
    return database.query(
        "SELECT (SELECT count(*) FROM operation), (SELECT count(*) FROM operation_subtask)"
    )


def test_every_example_creates_an_operation(people: Operations, database):
    """Rebuild and rebalance have their row in sys.result_cache from the creation."""
    offer(database)
    for text in EXAMPLES:
        statement = parse(text).statement
        assert isinstance(statement, CreateTask)

        ref = run(people, text)

        made = people.task(ref)
        assert (made["type"], made["location_type"], made["location"], made["name"]) == (
            statement.type,
            statement.location,
            statement.place,
            statement.name,
        )
        assert made["options"] == json.loads(json.dumps(dict(statement.options)))
        assert (made["state"], made["is_abortable"], made["waits_for"]) == ("PENDING", True, None)
        (planned,) = people.subtasks(ref)
        assert (planned["kind"], planned["state"]) == ("plan", "PENDING")
        assert planned["group_id"] == CLUSTER
        cached = database.query("SELECT count(*) FROM sys.result_cache WHERE id = %s", ref)
        assert cached == [(0 if statement.type == "check_disk" else 1,)]
        run(people, f"CANCEL TASK '{ref}'")


def test_a_bad_statement_is_refused_and_creates_nothing(people: Operations, database):
    """State, words, place and hint of each."""
    run(people, "CREATE TASK done TYPE rebalance")
    assert people.task("done")["state"] == "COMPLETE"
    offer(database)
    run(people, "CREATE TASK taken TYPE rebalance LOCATION CLUSTER other")
    before = counts(database)
    for marked, state, message, hint in BAD_MEANING:
        with pytest.raises(StatementError) as refused:
            run(people, marked.replace("^", "", 1))

        error = refused.value
        assert (marked, error.sqlstate, error.position) == (marked, state, marked.index("^"))
        assert message in str(error), marked
        assert hint in error.hint, marked
    assert counts(database) == before


def test_the_functions_of_psql_are_the_same(people: Operations, database):
    offer(database)
    ((made,),) = database.query(
        "SELECT sys.create_task(type => 'rebuild', location_type => 'CLUSTER',"
        " location => %s, options => '{\"segment_groups\": [53]}', name => 'by_psql')",
        CLUSTER,
    )

    assert people.task("by_psql")["id"] == made
    assert database.query("SELECT sys.create_task('rebalance')")
    assert database.query("SELECT sys.cancel_task('by_psql')") == [(made,)]
    assert people.task("by_psql")["state"] == "CANCELLED"
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="rebuild"):
        database.query("SELECT sys.create_task('rebuild', 'NODE', 'my_node1')")


@pytest.mark.parametrize("role", ["node", "reader"])
def test_only_a_system_administrator_creates_and_cancels(roles: Roles, role: str):
    """An ordinary login and a node's own get 42501."""
    fill_catalogue(roles.database)
    schema = roles.database.schema
    calls = ("sys.create_task('rebalance')", "sys.cancel_task('x')")
    inner = (f"{schema}.sys_create_task('rebalance')", f"{schema}.sys_cancel_task('x')")
    with roles.connect(role, CLUSTER if role == "node" else None) as connection:
        for call in (*calls, *inner):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT {call}")
    login = roles.login(role, CLUSTER if role == "node" else None)
    with (
        Operations(login, schema, "here", 9.0) as people,
        pytest.raises(DatabaseRefusedError, match="system_administrator"),
    ):
        run(people, "CREATE TASK TYPE rebalance")
    assert roles.database.query("SELECT count(*) FROM operation") == [(0,)]

    with roles.connect("system_administrator") as connection:
        row = connection.execute("SELECT sys.create_task('rebalance')").fetchone()
        assert row is not None
        login = connection.execute("SELECT created_by = session_user FROM sys.tasks").fetchone()
    assert login == (True,)


def test_a_stranger_without_any_role_gets_42501(roles: Roles):
    with roles.database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(f"CREATE ROLE {roles.prefix}_stranger")
        connection.execute(f"SET LOCAL ROLE {roles.prefix}_stranger")

        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT sys.create_task('rebalance')")


def test_a_second_one_of_the_same_type_and_place_waits_and_shows_for_what(
    people: Operations, database
):
    offer(database)
    first = run(people, EXAMPLES[2])
    second = run(people, EXAMPLES[2])
    third = run(people, EXAMPLES[2])
    elsewhere = run(people, "CREATE TASK TYPE rebuild LOCATION CLUSTER other")

    def waits(ref: str) -> str | None:
        found = people.task(ref)["waits_for"]
        return None if found is None else str(found)

    assert [waits(ref) for ref in (first, second, third, elsewhere)] == [None, first, second, None]
    assert people.subtasks(second)[0]["waits_for"] == f"task {first}"

    run(people, f"CANCEL TASK '{second}'")
    assert waits(third) == first
    run(people, f"CANCEL TASK '{first}'")
    assert waits(third) is None


def test_cancelling(people: Operations, database):
    """Twice is once; by name, by id, or by the id of a subtask."""
    offer(database)
    made = run(people, "CREATE TASK my_task TYPE rebuild")

    assert run(people, CANCEL) == made
    assert people.task("my_task")["state"] == "CANCELLED"
    assert run(people, CANCEL) == made
    (planned,) = people.subtasks(made)
    assert (planned["state"], planned["reason"]) == ("SKIPPED", "cancelled")

    again = run(people, "CREATE TASK my_task TYPE rebuild")  # the name is free again
    assert again != made
    (planned,) = people.subtasks("my_task")
    assert run(people, f"CANCEL TASK ('{planned['id']}')") == again


def test_where_no_node_offers_the_type_the_system_is_done_and_a_cluster_waits(
    people: Operations, database
):
    done = people.task(run(people, "CREATE TASK TYPE rebalance"))
    waiting = run(people, "CREATE TASK TYPE rebalance LOCATION CLUSTER other")

    assert (done["state"], done["error"]) == ("COMPLETE", "no node of any group offers rebalance")
    assert people.subtasks(waiting)[0]["waits_for"] == "a live node of other that offers rebalance"


def test_a_group_of_which_nothing_lives_keeps_the_system_from_no_end(people: Operations, database):
    offer(database)
    offer(database, "other", "their_node")
    database.query("UPDATE health_check SET ended_at = now() WHERE group_id = 'other' RETURNING 1")

    made = run(people, "CREATE TASK TYPE rebuild")

    found = {each["group_id"]: (each["state"], each["reason"]) for each in people.subtasks(made)}
    assert found == {
        CLUSTER: ("PENDING", None),
        "other": ("FAILED", "no live node of this group offers rebuild"),
    }


def test_types_of_a_plug_in_are_known_where_they_are_declared(people: Operations, database):
    session = offer(database)
    declared = json.dumps(
        [
            {
                "name": "noop",
                "locations": ["CLUSTER"],
                "options": {"count": {"kind": "number", "names": ""}},
                "result": False,
            },
            {"name": "rebuild", "locations": ["NODE"], "options": {}, "result": False},
        ]
    )
    database.query(
        "SELECT coord_offer_operations(%s, %s, %s, 'channel', %s)",
        *(CLUSTER, "my_node1", session, declared),
    )

    assert run(people, f"CREATE TASK TYPE noop LOCATION CLUSTER {CLUSTER} OPTIONS count = 3")
    for text, state in (
        ("CREATE TASK TYPE noop LOCATION CLUSTER other", "22023"),
        ("CREATE TASK TYPE noop", "0A000"),
        (f"CREATE TASK TYPE noop LOCATION CLUSTER {CLUSTER} OPTIONS count = 'x'", "22023"),
        ("CREATE TASK TYPE rebuild LOCATION NODE my_node1", "0A000"),  # coord's own stays
    ):
        with pytest.raises(StatementError) as refused:
            run(people, text)
        assert refused.value.sqlstate == state


def test_a_query_of_a_person_cannot_write(people: Operations, database):
    names, rows = people.select("SELECT cluster, kind FROM sys.clusters ORDER BY 1 LIMIT 1")

    assert (names, rows) == (["cluster", "kind"], [(ID, "program")])
    same = people.select("SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a")
    assert same == (["a", "a_3", "a_2", "a_4"], [(1, 2, 3, 4)])
    with pytest.raises(CoordError, match="read-only"):
        people.select("DELETE FROM app.operation")
    with pytest.raises(StatementError, match="nowhere") as refused:
        people.select("SELECT * FROM nowhere")
    assert (refused.value.sqlstate, refused.value.position) == ("42P01", 14)


def test_what_finished_long_ago_is_deleted(people: Operations, database):
    """Of a person after 90 days, of the system itself after 7, of this group only."""
    offer(database)
    database.query("UPDATE operation_node SET types = '{}'")  # then nothing is planned
    ages = {
        "old": (91, "user"),
        "young": (89, "user"),
        "own": (8, "system"),
        "fresh": (6, "system"),
    }
    for name, (days, kind) in ages.items():
        ref = run(people, f"CREATE TASK {name} TYPE rebalance LOCATION CLUSTER {CLUSTER}")
        run(people, f"CANCEL TASK '{ref}'")
        database.query(
            "UPDATE operation SET kind = %s, finished_at = now() - make_interval(days => %s)"
            " WHERE id = %s",
            *(kind, days, ref),
        )

    assert database.query("SELECT coord_forget_operations('other')") == [(0,)]
    assert database.query(f"SELECT coord_forget_operations('{CLUSTER}')") == [(2,)]

    left = database.query("SELECT name FROM operation ORDER BY name")
    assert left == [("fresh",), ("young",)]
    assert len(database.query("SELECT 1 FROM operation_subtask")) == 2


def test_the_statement_returns_at_once_with_ten_thousand_segments(people: Operations, database):
    offer(database)
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO segment (id, segment_group, group_id, place, device)"
            " SELECT gen_random_uuid(), 53, %s, place, gen_random_uuid()"
            " FROM generate_series(1, 10000) AS made (place)",
            (CLUSTER,),
        )

    statement = parse(EXAMPLES[0]).statement
    began = time.monotonic()
    made = people.run(statement)
    within(time.monotonic() - began, 0.1)

    assert len(people.subtasks(made)) == 1


def test_there_are_at_least_eighty_bad_statements():
    assert len({bad[0] for bad in (*BAD_SYNTAX, *BAD_MEANING)}) >= 80

"""Changes of an operator: one transaction each, an event with author and reason, a notification."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from coordinator.errors import (
    ConfigError,
    DatabaseUnreachableError,
    DuplicateTaskError,
    NodeAliveError,
    NotFoundError,
    TokenLostError,
)
from coordinator.protocol.messages.group_record import (
    NO_POLICY,
    OnDone,
    OnPartition,
    TaskDef,
    TasksPolicy,
)
from coordinator.store.admin.admin_store import AdminStore
from coordinator.store.sql.view import channel_of
from tests.conformance.team import give, over, read, take
from tests.conformance.worlds import GROUP, TIMEOUT_S
from tests.integration.test_budget import modules_of
from tests.integration.test_race import wait_for_lock
from tests.integration.test_store_tasks import members
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real

MAIL = TaskDef(name="mail", spec='{"command": ["mail", "--now"], "env": {"A": "1"}}')


@pytest.fixture
def operator(database: Any) -> Iterator[AdminStore]:
    with operator_of(database) as opened:
        yield opened


def operator_of(database: Any, timeout_s: float = TIMEOUT_S) -> AdminStore:
    return AdminStore(database.conninfo, database.schema, "here", timeout_s)


def definition(operator: AdminStore, task: str = "mail") -> TaskDef:
    found = operator.show(GROUP, task)[0]["definition"]
    assert isinstance(found, TaskDef)
    return found


def events(database: Any) -> list[tuple[object, ...]]:
    return database.query("SELECT kind, group_id, reason, who FROM event ORDER BY id")


def version(database: Any) -> int:
    return int(str(database.query("SELECT version FROM group_record")[0][0]))


# --- definitions ----------------------------------------------------------------------------------


def test_a_task_is_added_with_who_and_why_and_is_told(database, operator):
    with database.connect() as listener:
        listener.execute(f'LISTEN "{channel_of(database.schema, GROUP)}"')

        added = operator.add(GROUP, MAIL, who="ana", reason="new customer")

        (told,) = listener.notifies(timeout=5, stop_after=1)
    assert added == MAIL
    assert json.loads(told.payload) == {"kind": "group", "version": version(database)}
    assert events(database) == [("task added", "orders/mail", "new customer", "ana")]
    row, _ = operator.show(GROUP, "mail")
    assert (row["state"], row["origin"], row["changed_by"], row["node"]) == (
        "waiting",
        "cli",
        "ana",
        None,
    )


def test_a_task_that_is_there_is_not_added_again(database, operator):
    operator.add(GROUP, MAIL, who="ana")
    before = version(database)

    with pytest.raises(DuplicateTaskError, match="orders: there is a task 'mail' already"):
        operator.add(GROUP, replace(MAIL, pinned=True), who="ana")

    assert version(database) == before
    assert not definition(operator).pinned


@pytest.mark.parametrize("name", ["", "_observer", "a/b", "a b", "ä", "x" * 250])
def test_a_name_that_no_task_may_have_is_refused(database, operator, name):
    with pytest.raises(ConfigError, match="a name is"):
        operator.add(GROUP, TaskDef(name=name), who="ana")

    assert operator.list(GROUP) == []


def test_a_revision_rises_when_what_runs_changes_and_only_then(operator):
    operator.add(GROUP, MAIL, who="ana")
    elsewhere = replace(MAIL, preferred="b", pinned=True, nodes=("b",), failover=False)
    assert operator.change(GROUP, elsewhere, who="ana").revision == 1
    same = replace(elsewhere, spec='{"env": {"A": "1"}, "command": ["mail","--now"]}')
    assert operator.change(GROUP, same, who="ana").revision == 1

    for number, change in enumerate(
        (
            {"spec": '{"command": ["other"]}'},
            {"on_partition": OnPartition.CONTINUE},
            {"on_done": OnDone.RELEASE},
            {"progress_s": 2.0},
            {"stop_timeout_s": 3.0},
        ),
        start=2,
    ):
        same = replace(same, **change)  # type: ignore[arg-type]
        assert operator.change(GROUP, same, who="ana").revision == number

    assert definition(operator) == replace(same, revision=6, spec='{"command": ["other"]}')


def test_a_task_is_moved_enabled_and_disabled_and_its_program_goes_on(database, operator):
    operator.add(GROUP, MAIL, who="ana")

    operator.move(GROUP, "mail", preferred="b", pinned=True, who="ana", reason="bigger machine")
    assert (definition(operator).preferred, definition(operator).pinned) == ("b", True)
    operator.move(GROUP, "mail", preferred="c", who="ana")
    assert (definition(operator).preferred, definition(operator).pinned) == ("c", True)
    assert operator.disable(GROUP, "mail", who="ana")
    assert not operator.disable(GROUP, "mail", who="ana")
    assert operator.show(GROUP, "mail")[0]["state"] == "disabled"
    assert operator.enable(GROUP, "mail", who="ana")

    assert definition(operator).revision == 1
    kinds = [kind for kind, *_ in events(database)]
    assert kinds == [
        "task added",
        "task moved",
        "task moved",
        "task disabled",
        "task enabled",
    ]
    assert version(database) == 1 + len(kinds)


def test_what_is_not_there_is_not_found(operator):
    for deed in (
        lambda: operator.change(GROUP, MAIL, who="ana"),
        lambda: operator.enable(GROUP, "mail", who="ana"),
        lambda: operator.delete(GROUP, "mail", who="ana"),
        lambda: operator.move(GROUP, "mail", preferred="b", who="ana"),
        lambda: operator.show(GROUP, "mail"),
        lambda: operator.record(GROUP),
        lambda: operator.observer(GROUP),
        lambda: operator.suspend(GROUP, who="ana"),
        lambda: operator.evict(GROUP, "b", who="ana"),
    ):
        with pytest.raises(NotFoundError):
            deed()


def test_a_deleted_task_is_gone_and_comes_back_with_a_new_revision(database, operator):
    with members(database, "a", tasks=("mail",)) as (node,):
        take(node, "mail")
        give(node, over("mail", failed=True))
        operator.delete(GROUP, "mail", who="ana", reason="no more")

        assert operator.list(GROUP) == []
        assert read(node).failures == {}
        assert operator.add(GROUP, MAIL, who="ana").revision == 2
        assert read(node).token("mail").term == 1


def test_a_change_that_has_to_wait_for_a_lock_says_so(database):
    with operator_of(database, timeout_s=0.5) as operator, database.connect() as other:
        operator.add(GROUP, MAIL, who="ana")
        other.execute("BEGIN")
        other.execute("UPDATE task SET pinned = pinned")

        with pytest.raises(DatabaseUnreachableError, match=r"here: .*lock timeout"):
            operator.disable(GROUP, "mail", who="ana")

        other.execute("ROLLBACK")
        assert operator.disable(GROUP, "mail", who="ana")


# --- declared by files ----------------------------------------------------------------------------


def test_a_declared_task_is_added_and_then_left_alone(database, operator):
    assert operator.declare(GROUP, [MAIL], who="node-1") == ()
    before = version(database)

    for who in ("node-1", "node-2"):
        assert operator.declare(GROUP, [MAIL], who=who) == ()

    assert version(database) == before
    assert operator.show(GROUP, "mail")[0]["origin"] == "file"


def test_a_file_that_says_it_otherwise_changes_what_a_file_said(operator):
    operator.declare(GROUP, [MAIL], who="node-1")

    operator.declare(GROUP, [replace(MAIL, spec='{"command": ["other"]}')], who="node-1")

    assert definition(operator).spec == '{"command": ["other"]}'
    assert definition(operator).revision == 2


def test_what_people_defined_is_left_and_named(operator):
    operator.add(GROUP, MAIL, who="ana")
    operator.add(GROUP, TaskDef(name="same"), who="ana")

    lines = operator.declare(
        GROUP, [replace(MAIL, pinned=True), TaskDef(name="same")], who="node-1"
    )

    assert lines == (
        "task mail: left as it is; it was defined by cli, and the file's definition differs",
    )
    assert not definition(operator).pinned
    assert json.loads(definition(operator).spec) == json.loads(MAIL.spec)


def test_a_start_does_not_enable_what_somebody_has_disabled(operator):
    operator.declare(GROUP, [MAIL], who="node-1")
    operator.disable(GROUP, "mail", who="ana")

    operator.declare(GROUP, [MAIL], who="node-1")
    operator.declare(GROUP, [replace(MAIL, pinned=True)], who="node-1")

    assert definition(operator).pinned
    assert not definition(operator).enabled


def test_a_task_that_is_done_begins_again_only_when_it_is_declared_otherwise(database, operator):
    with members(database, "a") as (node,):
        operator.declare(GROUP, [MAIL], who="node-1")
        take(node, "mail")
        give(node, over("mail", done=True))

        operator.declare(GROUP, [MAIL], who="node-1")
        assert not definition(operator).enabled
        operator.declare(GROUP, [replace(MAIL, spec='{"command": ["other"]}')], who="node-1")
        assert definition(operator).enabled


def test_twenty_nodes_declare_the_same_tasks_at_once(database):
    tasks = [TaskDef(name=f"task-{number}") for number in range(10)]
    together = threading.Barrier(20)

    def start(number: int) -> tuple[str, ...]:
        with operator_of(database, timeout_s=30) as operator:
            together.wait(30)
            return operator.declare(GROUP, tasks[:: 1 if number % 2 else -1], who=f"node-{number}")

    with ThreadPoolExecutor(20) as nodes:
        assert list(nodes.map(start, range(20))) == [()] * 20

    assert database.query("SELECT count(*), max(revision) FROM task") == [(10, 1)]
    added = "SELECT count(*) FROM event WHERE kind = 'task added'"
    assert database.query(added) == [(10,)]


# --- nodes ----------------------------------------------------------------------------------------


def test_an_observer_is_suspended_with_who_and_why(database, operator):
    with joined_nodes(database, "a", hosts_tasks=True) as (node,):
        term = node.win()
        assert operator.suspend(GROUP, who="ana", reason="maintenance")
        assert not operator.suspend(GROUP, who="ben")

        seen = operator.observer(GROUP)
        assert (seen["state"], seen["node"], seen["term"]) == ("active", "a", term)
        assert (seen["suspended_by"], seen["suspend_reason"]) == ("ana", "maintenance")
        assert operator.resume(GROUP, who="ben")
        assert not operator.resume(GROUP, who="ben")
        assert operator.observer(GROUP)["suspended_at"] is None
        assert not read(node).suspended


def test_the_policy_is_changed_with_who_and_why_and_is_told(database, operator):
    with joined_nodes(database, "a", hosts_tasks=True) as (node,):
        before = version(database)

        assert operator.set_policy(
            GROUP, {"to_member_s": 1.5, "late_max": 0}, who="ana", reason="r"
        )
        assert not operator.set_policy(GROUP, {"to_member_s": 1.5}, who="ben")

        assert (
            read(node).policy == operator.policy(GROUP) == TasksPolicy(to_member_s=1.5, late_max=0)
        )
        assert version(database) == before + 1
        assert ("tasks policy changed", GROUP, "r", "ana") in events(database)
        assert operator.set_policy(GROUP, {"to_member_s": None, "late_max": None}, who="ana")
        assert read(node).policy == NO_POLICY


def test_a_file_declares_of_the_policy_what_nobody_named_and_is_told_of_the_rest(
    database, operator
):
    """B11"""
    with joined_nodes(database, "a", hosts_tasks=True):
        assert operator.declare_policy(GROUP, TasksPolicy(to_member_s=10.0), who="a") == ()
        declared = version(database)
        assert operator.declare_policy(GROUP, TasksPolicy(to_member_s=10.0), who="b") == ()
        assert version(database) == declared

        (line,) = operator.declare_policy(GROUP, TasksPolicy(to_member_s=3.0, late_max=5), who="b")

        assert line.startswith("tasksPolicy.toMember = 3 in this node's file is not used")
        assert "coord observer policy toMember=3" in line
        assert operator.policy(GROUP) == TasksPolicy(to_member_s=10.0, late_max=5)


@pytest.mark.parametrize("column", ["to_member_ms", "late_max", "late_within_ms"])
def test_a_policy_that_cannot_be_is_refused_whoever_writes_it(database, operator, column):
    operator.add(GROUP, MAIL, who="ana")

    with pytest.raises(psycopg.errors.CheckViolation):
        database.query(f"UPDATE group_record SET {column} = -1")


def test_a_node_that_lives_is_not_evicted(database, operator):
    with joined_nodes(database, "a", hosts_tasks=True) as (node,):
        with pytest.raises(NodeAliveError, match=r"node a beat .* and lives; stop it first"):
            operator.evict(GROUP, "a", who="ana")

        assert node.beat().done


def test_a_node_that_left_is_evicted_and_returns_as_a_new_one(database, operator):
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        take(second, "mail")
        give(second, over("mail", failed=True))
        second.leave()
        before = read(first).version

        operator.evict(GROUP, "b", who="ana", reason="sold")

        assert set(read(first).nodes) == {"a"}
        assert read(first).version == before + 1
        assert read(first).failures == {}
        assert ("node b evicted", GROUP, "sold", "ana") in events(database)
        second.session = str(uuid.uuid4())
        assert second.join().done
        assert read(first).nodes["b"].standing == "promotable"


def test_a_silent_node_is_evicted_only_when_it_holds_nothing(database, operator):
    """The server's clock may have been set: no token becomes free by it."""
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        take(second, "mail")
        database.query("UPDATE health_check SET last_heartbeat = now() - interval '7 s'")

        with pytest.raises(NodeAliveError, match="holds 1 tokens: another node has to end"):
            operator.evict(GROUP, "b", who="ana")
        operator.evict(GROUP, "a", who="ana")

        assert second.beat().done
        assert not first.beat().done


def test_a_node_that_beats_while_it_is_evicted_stays(database, operator):
    with joined_nodes(database, "a", hosts_tasks=True) as (_,), database.connect() as beating:
        database.query("UPDATE health_check SET last_heartbeat = now() - interval '7 s'")
        beating.execute("BEGIN")
        beating.execute("UPDATE health_check SET last_heartbeat = clock_timestamp()")
        with ThreadPoolExecutor(1) as pool:
            evicting = pool.submit(operator.evict, GROUP, "a", who="ana")
            wait_for_lock(database)
            beating.execute("COMMIT")

            with pytest.raises(NodeAliveError):
                evicting.result(10)


# --- looking --------------------------------------------------------------------------------------


def test_the_operator_reads_the_record_that_nodes_read(database, operator):
    with members(database, "a", tasks=("mail",)) as (node,):
        take(node, "mail")

        assert operator.record(GROUP) == read(node)


def test_nodes_and_decisions_are_listed(database, operator):
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        first.win()
        take(first, "mail")
        second.leave()

        rows = {row["node"]: row for row in operator.nodes(GROUP)}

        assert (rows["a"]["task_count"], rows["a"]["observer"]) == (1, True)
        assert (rows["b"]["state"], rows["b"]["observer"]) == ("ended", False)
        assert rows["a"]["group_version"] == version(database)
        assert operator.decisions(GROUP) == []


def test_a_cursor_is_saved_and_shown(database, operator):
    """H12"""
    with members(database, "a", tasks=("mail",)) as (node,):
        assert operator.cursor(GROUP, "mail")["cursor"] is None
        take(node, "mail")

        operator.save_cursor(GROUP, "mail", 1, node.session, '{"done": 7}')

        seen = operator.cursor(GROUP, "mail")
        assert (seen["cursor"], seen["term"], seen["save_count"]) == (b'{"done": 7}', 1, 1)
        give(node, over("mail"))
        with pytest.raises(TokenLostError, match="orders/mail: the token of term 1 is lost"):
            operator.save_cursor(GROUP, "mail", 1, node.session, "1")


def test_the_admin_store_loads_nothing_heavy():
    """`coord run` uses it, and every command that people type."""
    loaded = {name.partition(".")[0] for name in modules_of("coordinator.store.admin.admin_store")}

    assert loaded.isdisjoint({"sqlalchemy", "alembic", "pydantic", "typer"})

"""The desk of people: each change is one transaction, an event with who and why, and told."""

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
from coordinator.store.connection.opening import channel_of
from tests.conformance.team import give, over, read, take
from tests.conformance.worlds import GROUP, TIMEOUT_S
from tests.integration.test_budget import modules_of
from tests.integration.test_race import wait_for_lock
from tests.integration.test_store_tasks import members
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real

MAIL = TaskDef(name="mail", spec='{"command": ["mail", "--now"], "env": {"A": "1"}}')


@pytest.fixture
def desk(database: Any) -> Iterator[AdminStore]:
    with desk_of(database) as opened:
        yield opened


def desk_of(database: Any, timeout_s: float = TIMEOUT_S) -> AdminStore:
    return AdminStore(database.conninfo, database.schema, "here", timeout_s)


def definition(desk: AdminStore, task: str = "mail") -> TaskDef:
    found = desk.show(GROUP, task)[0]["definition"]
    assert isinstance(found, TaskDef)
    return found


def events(database: Any) -> list[tuple[object, ...]]:
    return database.query("SELECT kind, group_id, reason, who FROM event ORDER BY id")


def version(database: Any) -> int:
    return int(str(database.query("SELECT version FROM group_record")[0][0]))


# --- definitions ----------------------------------------------------------------------------------


def test_a_task_is_added_with_who_and_why_and_is_told(database, desk):
    with database.connect() as listener:
        listener.execute(f'LISTEN "{channel_of(database.schema, GROUP)}"')

        added = desk.add(GROUP, MAIL, who="ana", reason="new customer")

        (told,) = listener.notifies(timeout=5, stop_after=1)
    assert added == MAIL
    assert json.loads(told.payload) == {"kind": "group", "version": version(database)}
    assert events(database) == [("task added", "orders/mail", "new customer", "ana")]
    row, _ = desk.show(GROUP, "mail")
    assert (row["state"], row["origin"], row["changed_by"], row["node"]) == (
        "waiting",
        "cli",
        "ana",
        None,
    )


def test_a_task_that_is_there_is_not_added_again(database, desk):
    desk.add(GROUP, MAIL, who="ana")
    before = version(database)

    with pytest.raises(DuplicateTaskError, match="orders: there is a task 'mail' already"):
        desk.add(GROUP, replace(MAIL, pinned=True), who="ana")

    assert version(database) == before
    assert not definition(desk).pinned


@pytest.mark.parametrize("name", ["", "_observer", "a/b", "a b", "ä", "x" * 250])
def test_a_name_that_no_task_may_have_is_refused(database, desk, name):
    with pytest.raises(ConfigError, match="a name is"):
        desk.add(GROUP, TaskDef(name=name), who="ana")

    assert desk.list(GROUP) == []


def test_a_revision_rises_when_what_runs_changes_and_only_then(desk):
    desk.add(GROUP, MAIL, who="ana")
    elsewhere = replace(MAIL, preferred="b", pinned=True, nodes=("b",), failover=False)
    assert desk.change(GROUP, elsewhere, who="ana").revision == 1
    same = replace(elsewhere, spec='{"env": {"A": "1"}, "command": ["mail","--now"]}')
    assert desk.change(GROUP, same, who="ana").revision == 1

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
        assert desk.change(GROUP, same, who="ana").revision == number

    assert definition(desk) == replace(same, revision=6, spec='{"command": ["other"]}')


def test_a_task_is_moved_enabled_and_disabled_and_its_program_goes_on(database, desk):
    desk.add(GROUP, MAIL, who="ana")

    desk.move(GROUP, "mail", preferred="b", pinned=True, who="ana", reason="bigger machine")
    assert (definition(desk).preferred, definition(desk).pinned) == ("b", True)
    desk.move(GROUP, "mail", preferred="c", who="ana")
    assert (definition(desk).preferred, definition(desk).pinned) == ("c", True)
    assert desk.disable(GROUP, "mail", who="ana")
    assert not desk.disable(GROUP, "mail", who="ana")
    assert desk.show(GROUP, "mail")[0]["state"] == "disabled"
    assert desk.enable(GROUP, "mail", who="ana")

    assert definition(desk).revision == 1
    kinds = [kind for kind, *_ in events(database)]
    assert kinds == [
        "task added",
        "task moved",
        "task moved",
        "task disabled",
        "task enabled",
    ]
    assert version(database) == 1 + len(kinds)


def test_what_is_not_there_is_not_found(desk):
    for deed in (
        lambda: desk.change(GROUP, MAIL, who="ana"),
        lambda: desk.enable(GROUP, "mail", who="ana"),
        lambda: desk.delete(GROUP, "mail", who="ana"),
        lambda: desk.move(GROUP, "mail", preferred="b", who="ana"),
        lambda: desk.show(GROUP, "mail"),
        lambda: desk.record(GROUP),
        lambda: desk.observer(GROUP),
        lambda: desk.suspend(GROUP, who="ana"),
        lambda: desk.evict(GROUP, "b", who="ana"),
    ):
        with pytest.raises(NotFoundError):
            deed()


def test_a_deleted_task_is_gone_and_comes_back_with_a_new_revision(database, desk):
    with members(database, "a", tasks=("mail",)) as (node,):
        take(node, "mail")
        give(node, over("mail", failed=True))
        desk.delete(GROUP, "mail", who="ana", reason="no more")

        assert desk.list(GROUP) == []
        assert read(node).failures == {}
        assert desk.add(GROUP, MAIL, who="ana").revision == 2
        assert read(node).token("mail").term == 1


def test_a_change_that_has_to_wait_for_a_lock_says_so(database):
    with desk_of(database, timeout_s=0.5) as desk, database.connect() as other:
        desk.add(GROUP, MAIL, who="ana")
        other.execute("BEGIN")
        other.execute("UPDATE task SET pinned = pinned")

        with pytest.raises(DatabaseUnreachableError, match=r"here: .*lock timeout"):
            desk.disable(GROUP, "mail", who="ana")

        other.execute("ROLLBACK")
        assert desk.disable(GROUP, "mail", who="ana")


# --- declared by files ----------------------------------------------------------------------------


def test_a_declared_task_is_added_and_then_left_alone(database, desk):
    assert desk.declare(GROUP, [MAIL], who="node-1") == ()
    before = version(database)

    for who in ("node-1", "node-2"):
        assert desk.declare(GROUP, [MAIL], who=who) == ()

    assert version(database) == before
    assert desk.show(GROUP, "mail")[0]["origin"] == "file"


def test_a_file_that_says_it_otherwise_changes_what_a_file_said(desk):
    desk.declare(GROUP, [MAIL], who="node-1")

    desk.declare(GROUP, [replace(MAIL, spec='{"command": ["other"]}')], who="node-1")

    assert definition(desk).spec == '{"command": ["other"]}'
    assert definition(desk).revision == 2


def test_what_people_defined_is_left_and_named(desk):
    desk.add(GROUP, MAIL, who="ana")
    desk.add(GROUP, TaskDef(name="same"), who="ana")

    lines = desk.declare(GROUP, [replace(MAIL, pinned=True), TaskDef(name="same")], who="node-1")

    assert lines == (
        "task mail: left as it is; it was defined by cli, and the file's definition differs",
    )
    assert not definition(desk).pinned
    assert json.loads(definition(desk).spec) == json.loads(MAIL.spec)


def test_a_start_does_not_enable_what_somebody_has_disabled(desk):
    desk.declare(GROUP, [MAIL], who="node-1")
    desk.disable(GROUP, "mail", who="ana")

    desk.declare(GROUP, [MAIL], who="node-1")
    desk.declare(GROUP, [replace(MAIL, pinned=True)], who="node-1")

    assert definition(desk).pinned
    assert not definition(desk).enabled


def test_a_task_that_is_done_begins_again_only_when_it_is_declared_otherwise(database, desk):
    with members(database, "a") as (node,):
        desk.declare(GROUP, [MAIL], who="node-1")
        take(node, "mail")
        give(node, over("mail", done=True))

        desk.declare(GROUP, [MAIL], who="node-1")
        assert not definition(desk).enabled
        desk.declare(GROUP, [replace(MAIL, spec='{"command": ["other"]}')], who="node-1")
        assert definition(desk).enabled


def test_twenty_nodes_declare_the_same_tasks_at_once(database):
    tasks = [TaskDef(name=f"task-{number}") for number in range(10)]
    together = threading.Barrier(20)

    def start(number: int) -> tuple[str, ...]:
        with desk_of(database, timeout_s=30) as desk:
            together.wait(30)
            return desk.declare(GROUP, tasks[:: 1 if number % 2 else -1], who=f"node-{number}")

    with ThreadPoolExecutor(20) as nodes:
        assert list(nodes.map(start, range(20))) == [()] * 20

    assert database.query("SELECT count(*), max(revision) FROM task") == [(10, 1)]
    added = "SELECT count(*) FROM event WHERE kind = 'task added'"
    assert database.query(added) == [(10,)]


# --- nodes ----------------------------------------------------------------------------------------


def test_an_observer_is_suspended_with_who_and_why(database, desk):
    with joined_nodes(database, "a", hosts_tasks=True) as (node,):
        term = node.win()
        assert desk.suspend(GROUP, who="ana", reason="maintenance")
        assert not desk.suspend(GROUP, who="ben")

        seen = desk.observer(GROUP)
        assert (seen["state"], seen["node"], seen["term"]) == ("active", "a", term)
        assert (seen["suspended_by"], seen["suspend_reason"]) == ("ana", "maintenance")
        assert desk.resume(GROUP, who="ben")
        assert not desk.resume(GROUP, who="ben")
        assert desk.observer(GROUP)["suspended_at"] is None
        assert not read(node).suspended


def test_the_policy_is_changed_with_who_and_why_and_is_told(database, desk):
    with joined_nodes(database, "a", hosts_tasks=True) as (node,):
        before = version(database)

        assert desk.set_policy(GROUP, {"to_member_s": 1.5, "late_max": 0}, who="ana", reason="r")
        assert not desk.set_policy(GROUP, {"to_member_s": 1.5}, who="ben")

        assert read(node).policy == desk.policy(GROUP) == TasksPolicy(to_member_s=1.5, late_max=0)
        assert version(database) == before + 1
        assert ("tasks policy changed", GROUP, "r", "ana") in events(database)
        assert desk.set_policy(GROUP, {"to_member_s": None, "late_max": None}, who="ana")
        assert read(node).policy == NO_POLICY


def test_a_file_declares_of_the_policy_what_nobody_named_and_is_told_of_the_rest(database, desk):
    """B11"""
    with joined_nodes(database, "a", hosts_tasks=True):
        assert desk.declare_policy(GROUP, TasksPolicy(to_member_s=10.0), who="a") == ()
        declared = version(database)
        assert desk.declare_policy(GROUP, TasksPolicy(to_member_s=10.0), who="b") == ()
        assert version(database) == declared

        (line,) = desk.declare_policy(GROUP, TasksPolicy(to_member_s=3.0, late_max=5), who="b")

        assert line.startswith("tasksPolicy.toMember = 3 in this node's file is not used")
        assert "coord observer policy toMember=3" in line
        assert desk.policy(GROUP) == TasksPolicy(to_member_s=10.0, late_max=5)


@pytest.mark.parametrize("column", ["to_member_ms", "late_max", "late_within_ms"])
def test_a_policy_that_cannot_be_is_refused_whoever_writes_it(database, desk, column):
    desk.add(GROUP, MAIL, who="ana")

    with pytest.raises(psycopg.errors.CheckViolation):
        database.query(f"UPDATE group_record SET {column} = -1")


def test_a_node_that_lives_is_not_evicted(database, desk):
    with joined_nodes(database, "a", hosts_tasks=True) as (node,):
        with pytest.raises(NodeAliveError, match=r"node a beat .* and lives; stop it first"):
            desk.evict(GROUP, "a", who="ana")

        assert node.beat().done


def test_a_node_that_left_is_evicted_and_returns_as_a_new_one(database, desk):
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        take(second, "mail")
        give(second, over("mail", failed=True))
        second.leave()
        before = read(first).version

        desk.evict(GROUP, "b", who="ana", reason="sold")

        assert set(read(first).nodes) == {"a"}
        assert read(first).version == before + 1
        assert read(first).failures == {}
        assert ("node b evicted", GROUP, "sold", "ana") in events(database)
        second.session = str(uuid.uuid4())
        assert second.join().done
        assert read(first).nodes["b"].standing == "promotable"


def test_a_silent_node_is_evicted_only_when_it_holds_nothing(database, desk):
    """The server's clock may have been set: no token becomes free by it."""
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        take(second, "mail")
        database.query("UPDATE health_check SET last_heartbeat = now() - interval '7 s'")

        with pytest.raises(NodeAliveError, match="holds 1 tokens: another node has to end"):
            desk.evict(GROUP, "b", who="ana")
        desk.evict(GROUP, "a", who="ana")

        assert second.beat().done
        assert not first.beat().done


def test_a_node_that_beats_while_it_is_evicted_stays(database, desk):
    with joined_nodes(database, "a", hosts_tasks=True) as (_,), database.connect() as beating:
        database.query("UPDATE health_check SET last_heartbeat = now() - interval '7 s'")
        beating.execute("BEGIN")
        beating.execute("UPDATE health_check SET last_heartbeat = clock_timestamp()")
        with ThreadPoolExecutor(1) as pool:
            evicting = pool.submit(desk.evict, GROUP, "a", who="ana")
            wait_for_lock(database)
            beating.execute("COMMIT")

            with pytest.raises(NodeAliveError):
                evicting.result(10)


# --- looking --------------------------------------------------------------------------------------


def test_the_desk_reads_the_record_that_nodes_read(database, desk):
    with members(database, "a", tasks=("mail",)) as (node,):
        take(node, "mail")

        assert desk.record(GROUP) == read(node)


def test_nodes_and_decisions_are_listed(database, desk):
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        first.win()
        take(first, "mail")
        second.leave()

        rows = {row["node"]: row for row in desk.nodes(GROUP)}

        assert (rows["a"]["task_count"], rows["a"]["observer"]) == (1, True)
        assert (rows["b"]["state"], rows["b"]["observer"]) == ("ended", False)
        assert rows["a"]["group_version"] == version(database)
        assert desk.decisions(GROUP) == []


def test_a_cursor_is_saved_and_shown(database, desk):
    """H12"""
    with members(database, "a", tasks=("mail",)) as (node,):
        assert desk.cursor(GROUP, "mail")["cursor"] is None
        take(node, "mail")

        desk.save_cursor(GROUP, "mail", 1, node.session, '{"done": 7}')

        seen = desk.cursor(GROUP, "mail")
        assert (seen["cursor"], seen["term"], seen["save_count"]) == ('{"done": 7}', 1, 1)
        give(node, over("mail"))
        with pytest.raises(TokenLostError, match="orders/mail: the token of term 1 is lost"):
            desk.save_cursor(GROUP, "mail", 1, node.session, "1")


def test_the_desk_loads_nothing_heavy():
    """`coord run` uses it, and every command that people type."""
    loaded = {name.partition(".")[0] for name in modules_of("coordinator.store.admin.admin_store")}

    assert loaded.isdisjoint({"sqlalchemy", "alembic", "pydantic", "typer"})

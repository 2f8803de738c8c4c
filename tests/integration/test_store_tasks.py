"""Tokens of tasks on a real PostgreSQL: threads, fences, cursors, and what a look costs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import errors

from coordinator.protocol.messages.group_record import Standing, TaskDef
from coordinator.protocol.messages.requests import Join
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decide,
    EndSession,
    GivenTask,
    ReadGroup,
    ReleaseTasks,
    ReportTasks,
    TaskReport,
    WantedTask,
)
from coordinator.store.node.group_record import READ_GROUP
from coordinator.store.sql.fence import fence_sql
from coordinator.store.sql.statement import named
from tests.conformance.team import give, over, read, take, watched
from tests.conformance.worlds import GROUP, Node, PostgresWorld
from tests.integration.test_race import at_once
from tests.support.bounds import within
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.postgres import wait_until

pytestmark = pytest.mark.real

ROUNDS = 200
#: Of a look at a thousand tasks and twenty nodes, the server's and ours; seconds. It was measured
#: to take a tenth of it: the bound is for a machine that has other things to do.
LOOK_MAX_S = 0.25


@contextmanager
def members(database: Any, *names: str, tasks: tuple[str, ...] = ()) -> Iterator[list[Node]]:
    """Join nodes that are Members by hand, so that no observer is needed."""
    world = PostgresWorld(database)
    for task in tasks:
        world.define(TaskDef(name=task))
    with joined_nodes(database, *names, hosts_tasks=True) as nodes:
        database.query("UPDATE health_check SET standing = 'member'")
        yield nodes


@contextmanager
def fenced(database: Any, node: Node, task: str, term: int) -> Iterator[psycopg.Connection]:
    """Open a user's transaction under the fence of a task."""
    connection = database.connect()
    connection.execute("BEGIN")
    asked = {"group": f"{GROUP}/{task}", "term": term, "session": node.session}
    connection.execute(fence_sql(database.schema), asked)
    try:
        yield connection
    finally:
        connection.close()


# --- races ----------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_two_nodes_that_take_the_same_tokens_at_once_share_them_out(database):
    """R2: in each of 200 rounds every token has one new holder, and its term rises by one."""
    tasks = ("archive", "mail", "report")
    with members(database, "a", "b", tasks=tasks) as nodes:
        for term in range(1, ROUNDS + 1):
            wanted = tuple(
                WantedTask(task=task, seen_term=term - 1, next_term=term) for task in tasks
            )

            answers = at_once([partial(take, node, wanted=wanted) for node in nodes])

            assert all(answer.done for answer in answers)
            # A row that another is about to change is passed over, so a round may leave some.
            for _ in nodes:
                answers += [take(node, wanted=wanted) for node in nodes]
            taken = sorted(won for answer in answers for won in answer.taken)
            assert taken == [(task, term) for task in tasks]
            for node in nodes:
                give(node, *(over(task, term) for task in tasks))

    held = (
        "SELECT group_id, count(*), count(DISTINCT term), max(term) FROM token_history GROUP BY 1"
    )
    expected = {(f"{GROUP}/{task}", ROUNDS, ROUNDS, ROUNDS) for task in tasks}
    assert set(database.query(held)) == expected


@pytest.mark.timeout(120)
def test_two_observers_at_once_decide_once(database):
    """H10: in each of 200 rounds, whoever of them the token belongs to."""
    with members(database, "a", "b", "c") as nodes:
        observer, _, third = nodes
        term = observer.win()
        # The same observer on two connections: what a frozen process and its successor may be.
        with joined_nodes(database, "d", hosts_tasks=True) as (twin,):
            twin.facts, twin.session = observer.facts, observer.session
            twin.reconnect(PostgresWorld(database))
            for number in range(ROUNDS):
                version = read(observer).version
                request = Decide(
                    session=observer.session,
                    term=term,
                    version=version,
                    decisions=(_standing_of(third, number),),
                )

                answers = at_once([partial(node.ask, request) for node in (observer, twin)])

                assert sorted(answer.done for answer in answers) == [False, True]
                assert read(observer).version == version + 1

    assert database.query("SELECT count(*) FROM observer_decision") == [(ROUNDS,)]


def _standing_of(node: Node, number: int) -> ChangeStanding:
    words = Standing.MEMBER, Standing.REHAB
    return ChangeStanding(
        node=node.facts.node,
        session=node.session,
        before=words[number % 2],
        after=words[1 - number % 2],
        reason="test",
    )


@pytest.mark.timeout(120)
def test_a_late_heartbeat_and_its_end_never_both_succeed(database):
    """R1: the beat that was seen decides, for the observer too."""
    outcomes = set()
    with members(database, "a", "b") as (observer, late):
        term = observer.win()
        for _ in range(ROUNDS):
            seen = watched(observer)["b"]
            end = EndSession(node="b", session=seen.session, beat=seen.beat, reason="silent")
            decide = Decide(
                session=observer.session,
                term=term,
                version=read(observer).version,
                decisions=(end,),
            )

            beaten, ended = at_once([late.beat, partial(observer.ask, decide)])

            outcomes.add((beaten.done, ended.done))
            assert beaten.done != ended.done
            if ended.done:
                late.rejoin()

    assert outcomes <= {(True, False), (False, True)}


def test_joins_leaves_decisions_and_tasks_at_once_meet_in_no_deadlock(database):
    """Everybody locks sessions first, then tokens, tasks, what is known of them, the version."""
    tasks = tuple(f"task-{number}" for number in range(8))
    before = _deadlocks(database)
    with members(database, "a", "b", "c", "d", tasks=tasks) as nodes:
        observer, *others = nodes
        term = observer.win()

        def come_and_go(node: Node) -> Any:
            for _ in range(15):
                take(node, *tasks)
                record = read(node)
                held = [t for t in tasks if record.token(t).session == node.session]
                give(node, *(over(t, record.token(t).term, failed=True) for t in held[::2]))
                told = tuple(TaskReport(task=t, state="running", term=1) for t in tasks)
                node.ask(ReportTasks(session=node.session, version=record.version, told=told))
                node.leave()
                node.session = str(uuid.uuid4())
                assert node.join().done
            return node.look()

        def decide() -> Any:
            for _ in range(60):
                seen = watched(observer)
                record = read(observer)
                decisions = tuple(
                    EndSession(node=n, session=s.session, beat=s.beat, reason="test")
                    for n, s in seen.items()
                    if n != "a"
                )
                request = Decide(
                    session=observer.session,
                    term=term,
                    version=record.version,
                    decisions=decisions,
                )
                observer.ask(request)
                database.query("UPDATE health_check SET standing = 'member' WHERE task_id <> 'a'")
            return observer.look()

        def define() -> Any:
            world = PostgresWorld(database)
            for number in range(20):
                for task in tasks:
                    world.define(TaskDef(name=task, preferred=f"n{number}"))
            return observer

        at_once([*(partial(come_and_go, node) for node in others), decide, define])

    assert _deadlocks(database) == before


def test_a_join_waits_for_no_task_while_it_holds_the_record(database):
    """Everybody locks what is known of tasks before the group's record."""
    with members(database, "a", "b", tasks=("mail",)) as (_, returning), database.connect() as user:
        failed = (
            "INSERT INTO task_node (group_id, task, node, failed_count) VALUES (%s, 'mail', 'b', 3)"
        )
        database.query(failed, GROUP)
        user.execute("BEGIN; SET LOCAL lock_timeout = '20s'")
        user.execute("UPDATE task_node SET failed_count = 0 WHERE failed_count > 0")

        def change() -> Any:
            pid = returning.connection._connection.info.backend_pid
            blocked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
            wait_until(lambda: database.query(blocked, pid) == [(True,)])
            user.execute("UPDATE group_record SET version = version + 1")
            user.execute("COMMIT")
            return returning

        previous, returning.session = returning.session, str(uuid.uuid4())
        join = Join(session=returning.session, previous=previous)
        joined, _ = at_once([lambda: returning.connection.ask(join, 60.0), change])

        assert joined.done
    assert database.query("SELECT failed_count FROM task_node") == [(0,)]


def _deadlocks(database) -> int:
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(str(database.query(query)[0][0]))


# --- fences ---------------------------------------------------------------------------------------


def test_a_fence_of_a_dead_holder_does_not_block_for_ever(database):
    """F2: it is ended, and the next try takes the token."""
    with (
        members(database, "a", "b", tasks=("mail", "report")) as (first, second),
        fenced(database, first, "mail", _taken(first, "mail", "report")) as user,
    ):
        first.rejoin()

        started_at = time.monotonic()
        at_first = take(second, "mail", "report")
        # A terminated backend gives its locks up a moment later.
        wait_until(lambda: take(second, "mail").taken == (("mail", 2),))
        took_s = time.monotonic() - started_at

        assert at_first.taken == (("report", 2),)
        within(took_s, 1.0)
        with pytest.raises(psycopg.OperationalError):
            user.execute("COMMIT")


def test_a_fence_of_a_live_holder_is_left_alone(database):
    with (
        members(database, "a", "b", tasks=("mail",)) as (first, second),
        fenced(database, first, "mail", _taken(first, "mail")) as user,
    ):
        assert take(second, "mail").taken == ()
        wrong = WantedTask(task="mail", seen_term=0, next_term=1)
        assert take(second, wanted=(wrong,)).taken == ()

        user.execute("COMMIT")


def test_heartbeats_go_on_under_the_fence_of_a_task(database):
    with (
        members(database, "a", tasks=("mail",)) as (first,),
        fenced(database, first, "mail", _taken(first, "mail")),
    ):
        assert first.beat().done


def test_a_release_ends_the_fences_of_what_it_gives_back_and_no_others(database):
    """The programs of the other tasks still run."""
    with (
        members(database, "a", tasks=("mail", "report")) as (first,),
        fenced(database, first, "mail", _taken(first, "mail", "report")) as over_now,
        fenced(database, first, "report", 1) as running,
    ):
        assert give(first, over("mail")).done

        assert read(first).token("mail").free
        with pytest.raises(psycopg.OperationalError):
            over_now.execute("COMMIT")
        running.execute("COMMIT")


def test_a_task_that_is_given_back_late_was_active_until_its_programs_end(database):
    with members(database, "a", tasks=("mail", "report")) as (node,):
        taken = take(node, "mail", "report").taken
        given = (
            GivenTask(task="mail", term=dict(taken)["mail"], reason="moved", ended_s=3.0),
            GivenTask(task="report", term=dict(taken)["report"], reason="moved"),
        )
        assert node.ask(ReleaseTasks(session=node.session, given=given)).done

    idle = dict(
        database.query(
            "SELECT group_id, extract(epoch FROM ended_at - active_until)::float8"
            " FROM token_history WHERE group_id IN ('orders/mail', 'orders/report')"
        )
    )
    assert 3.0 <= idle["orders/mail"] < 4.0
    assert 0.0 <= idle["orders/report"] < 1.0


def test_the_observers_release_leaves_the_fences_of_tasks_alone(database):
    with members(database, "a", tasks=("mail",)) as (first,):
        term = first.win()
        with fenced(database, first, "mail", _taken(first, "mail")) as running:
            assert first.release(term).done

            running.execute("COMMIT")


def _taken(node: Node, *tasks: str) -> int:
    answer = take(node, *tasks)
    assert len(answer.taken) == len(tasks)
    return 1


# --- cursors --------------------------------------------------------------------------------------


SAVE = "SELECT coord_save_cursor(%s, 'mail', %s, %s, %s)"
READ = "SELECT coord_read_cursor(%s, 'mail')"


def test_a_cursor_is_saved_under_its_term_and_read_by_the_next_holder(database):
    """H12"""
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        assert database.query(READ, GROUP) == [(None,)]
        take(first, "mail")
        for done in (10, 20):
            database.query(SAVE, GROUP, 1, first.session, json.dumps({"done": done}))
        give(first, over("mail"))
        take(second, "mail")

        assert database.query(READ, GROUP) == [({"done": 20},)]
        database.query(SAVE, GROUP, 2, second.session, json.dumps({"done": 30}))

    rows = database.query(
        "SELECT convert_from(content, 'UTF8')::jsonb, term, sequence FROM token_state"
        " ORDER BY sequence"
    )
    assert rows == [({"done": 10}, 1, 1), ({"done": 20}, 1, 2), ({"done": 30}, 2, 3)]


def test_a_cursor_of_a_stale_term_or_session_is_refused(database):
    """H12: a node that was away does not undo what its successor did."""
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        take(first, "mail")
        old = first.session
        first.rejoin()
        take(second, "mail")
        database.query(SAVE, GROUP, 2, second.session, "2")

        for term, session in ((1, old), (2, old), (1, second.session), (3, second.session)):
            with pytest.raises(errors.Error) as caught:
                database.query(SAVE, GROUP, term, session, "1")
            assert caught.value.sqlstate == "CF001"

    assert database.query(READ, GROUP) == [(2,)]


def test_a_cursor_is_saved_in_the_transaction_of_the_work_itself(database):
    """Nothing that is undone was ever said to be done."""
    with members(database, "a", tasks=("mail",)) as (first,):
        take(first, "mail")
        with database.connect() as user:
            user.execute("BEGIN")
            user.execute(SAVE, (GROUP, 1, first.session, "1"))
            user.execute("ROLLBACK")

    assert database.query(READ, GROUP) == [(None,)]


# --- what is written down -------------------------------------------------------------------------


def test_each_token_has_its_history_and_its_events(database):
    with members(database, "a", "b", tasks=("mail",)) as (first, second):
        term = first.win()
        take(second, "mail")
        told = (
            TaskReport(task="mail", state="running", term=1, error="x" * 5000, note="restarted"),
        )
        second.ask(ReportTasks(session=second.session, version=9, told=told))
        seen = watched(first)["b"]
        end = EndSession(node="b", session=seen.session, beat=seen.beat, reason="silent")
        version = read(first).version
        decide = Decide(session=first.session, term=term, version=version, decisions=(end,))
        assert first.ask(decide).done
        take(first, "mail")
        give(first, over("mail", 2, failed=True))
        take(first, "mail")
        give(first, over("mail", 3, done=True))

    events = database.query(
        "SELECT kind, task_id, term FROM event WHERE group_id = 'orders/mail' ORDER BY id"
    )
    assert events == [
        ("task added", None, None),
        ("taken", "b", 1),
        ("restarted", "b", 1),
        ("stuck", "b", 1),
        ("taken", "a", 2),
        ("gave up", "a", 2),
        ("taken", "a", 3),
        ("finished", "a", 3),
    ]
    history = database.query(
        "SELECT term, task_id, how, from_task, end_how, gap_s >= 0 FROM coord_history"
        " WHERE group_id = 'orders/mail' ORDER BY term"
    )
    assert history == [
        (1, "b", "first", None, "session ended", None),
        (2, "a", "takeover", "b", "release", True),
        (3, "a", "release", "a", "release", True),
    ]
    decided = "SELECT version, observer, term, node, kind, before, after FROM observer_decision"
    assert database.query(decided) == [
        (version + 1, "a", term, "b", "ended", "member", "rehab"),
    ]
    assert database.query("SELECT length(error) FROM task_node WHERE node = 'b'") == [(1000,)]
    assert database.query("SELECT end_reason FROM task") == [("stop",)]


def test_a_group_is_told_once_of_many_tokens_that_are_free(database):
    """The commit of a notification is a lock of the whole server."""
    tasks = tuple(f"task-{number}" for number in range(20))
    with members(database, "a", "b", tasks=tasks) as (first, second):
        take(first, *tasks)
        take(second, *tasks)
        with database.connect() as listener:
            channel = first.connection._place.channel
            listener.execute(f'LISTEN "{channel}"')

            give(first, *(over(task) for task in tasks[:10]))
            first.leave()

            told = [json.loads(one.payload) for one in listener.notifies(timeout=1, stop_after=4)]

    kinds = [one["kind"] for one in told]
    assert kinds[0] == "freed"
    assert sorted(kinds[1:]) == ["freed", "group", "left"]


# --- what it costs --------------------------------------------------------------------------------


@contextmanager
def thousand(database: Any) -> Iterator[Node]:
    """A thousand tasks, spread over twenty nodes, each of which has told about them all."""
    with ExitStack() as stack:
        names = [f"node-{number:02}" for number in range(20)]
        nodes = stack.enter_context(members(database, *names))
        database.query(
            "INSERT INTO task (group_id, name, spec) SELECT 'orders', 'task-' || n,"
            """ '{"command": ["/usr/bin/true", "x"], "env": {"A": "b"}}'"""
            " FROM generate_series(1, 1000) AS n"
        )
        database.query(
            "UPDATE token_holder AS token SET task_id = h.task_id, term = 3, session = h.session"
            " FROM generate_series(1, 1000) AS n JOIN health_check AS h"
            " ON h.task_id = 'node-' || lpad((n % 20)::text, 2, '0')"
            " WHERE token.group_id = 'orders/task-' || n"
        )
        database.query(
            "INSERT INTO task_node (group_id, task, node, state, failed_count)"
            " SELECT 'orders', 'task-' || n, 'node-' || lpad(m::text, 2, '0'), 'idle',"
            " CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END"
            " FROM generate_series(1, 1000) AS n, generate_series(0, 19) AS m"
        )
        database.query("ANALYZE")
        yield nodes[0]


def test_a_look_at_a_thousand_tasks_is_one_statement_of_milliseconds(database):
    with thousand(database) as node:
        node.ask(ReadGroup())
        looks = []
        for _ in range(5):
            started_at = time.monotonic()
            group = node.ask(ReadGroup()).group
            looks.append(time.monotonic() - started_at)
        explain = b"EXPLAIN (ANALYZE, COSTS off, TIMING off) " + named(READ_GROUP, database.schema)
        connection = node.connection._connection
        plan = [line for (line,) in connection.execute(explain, node.connection._place.params())]

    assert (len(group.tasks), len(group.nodes), len(group.tokens)) == (1000, 20, 1000)
    assert len(group.failures) == 200
    within(min(looks), LOOK_MAX_S)
    # What is known of tasks on nodes are twenty thousand rows; a look reads those that failed.
    assert any("task_node_failed_idx" in line for line in plan), "\n".join(plan)


def test_the_names_of_many_tokens_are_bound_and_not_pasted(database):
    """One statement has as many names as a request may have."""
    with thousand(database) as node:
        database.query(
            "UPDATE token_holder SET session = NULL WHERE group_id <> 'orders/_observer'"
        )
        tasks = [f"task-{number}" for number in range(1, 201)]

        assert len(take(node, *tasks).taken) == 200
        given = tuple(GivenTask(task=task, term=4, reason="stop") for task in tasks)
        assert node.ask(ReleaseTasks(session=node.session, given=given)).done
        assert read(node).token("task-7").session is None

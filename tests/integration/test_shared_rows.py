"""No two things share a token's row, and nobody outside holds up a fence: every order of events."""

from __future__ import annotations

import threading
import uuid

import psycopg
import pytest

from coordinator.store.sql.fence import fence_sql
from tests.conformance.team import take
from tests.integration.test_store_tasks import members
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.postgres import wait_until

pytestmark = pytest.mark.real

#: Ways to make a group, and a task, that would both have the token orders/t.
GROUP = "INSERT INTO group_record (group_id) VALUES ('orders/t')"
TASK = "INSERT INTO task (group_id, name) VALUES ('orders', 't')"
TASK_AGAIN = "UPDATE task SET deleted = false WHERE name = 't'"


class Other(threading.Thread):
    """Runs one statement on a connection of its own, and keeps how it ended."""

    def __init__(self, database, statement: str) -> None:
        super().__init__(daemon=True)
        self.connection = database.connect()
        self.statement, self.error = statement, None
        self.start()

    def run(self) -> None:
        try:
            self.connection.execute(self.statement)
        except psycopg.Error as error:
            self.error = error


@pytest.mark.parametrize("kept", [True, False], ids=["row was there", "row is new"])
@pytest.mark.parametrize(
    ("first", "second"), [(GROUP, TASK), (TASK, GROUP), (GROUP, TASK_AGAIN), (TASK_AGAIN, GROUP)]
)
def test_of_a_group_and_a_task_one_gets_the_token(database, first: str, second: str, kept: bool):
    if TASK_AGAIN in (first, second):
        database.query("INSERT INTO task (group_id, name, deleted) VALUES ('orders', 't', true)")
    if kept:
        database.query("INSERT INTO token_holder (group_id) VALUES ('orders/t')")
    with database.connect() as faster:
        faster.execute("BEGIN")
        faster.execute(first)
        slower = Other(database, second)
        blocked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        pid = slower.connection.info.backend_pid
        wait_until(lambda: database.query(blocked, pid) == [(True,)] or not slower.is_alive())
        faster.execute("COMMIT")
    slower.join(30)

    assert isinstance(slower.error, psycopg.errors.CheckViolation)
    assert "would share its token" in str(slower.error)
    slower.connection.close()


@pytest.mark.parametrize(("first", "second"), [(GROUP, TASK), (TASK, GROUP)])
def test_who_came_first_and_went_back_leaves_the_token(database, first: str, second: str):
    with database.connect() as faster:
        faster.execute("BEGIN")
        faster.execute(first)
        slower = Other(database, second)
        faster.execute("ROLLBACK")
    slower.join(30)

    assert slower.error is None
    slower.connection.close()


def test_a_task_is_not_taken_from_a_session_that_lives_in_another_group(database):
    """D2: that a group does not know a holder does not make its token free."""
    session = str(uuid.uuid4())
    with members(database, "a", tasks=("mail",)) as (node,):
        database.query(
            "INSERT INTO health_check (group_id, task_id, session, last_heartbeat)"
            " VALUES ('orders/mail', 'elsewhere', %s, now())",
            session,
        )
        database.query(
            "UPDATE token_holder SET task_id = 'elsewhere', session = %s, term = 1"
            " WHERE group_id = 'orders/mail'",
            session,
        )

        taken = take(node, "mail")

        assert taken.done
        assert taken.taken == ()
    holder = "SELECT task_id FROM token_holder WHERE group_id = 'orders/mail'"
    assert database.query(holder) == [("elsewhere",)]


def test_a_login_with_the_fences_lock_holds_up_no_fence(database):
    """F1, F2: nor the takeover that has to push the fence aside."""
    key = f"coord_fence:{database.schema}:orders"
    with joined_nodes(database, "h", "a") as (holder, taker), database.connect() as stranger:
        term = holder.win()
        user = database.connect()
        held = (key, f"{key}:{taker.connection._connection.info.backend_pid}")
        for name in held:
            stranger.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (name,))
        user.execute("SET lock_timeout = '20s'")
        user.execute("BEGIN")
        fence = {"group": "orders", "term": term, "session": holder.session}
        user.execute(fence_sql(database.schema), fence)

        assert taker.take(taker.look()).done

        with pytest.raises(psycopg.OperationalError):
            user.execute("COMMIT")
        user.close()


def test_a_fence_goes_on_without_its_lock(database):
    """F1"""
    with joined_nodes(database, "h") as (holder,), database.connect() as stranger:
        term = holder.win()
        user = database.connect()
        key = f"coord_fence:{database.schema}:orders:{user.info.backend_pid}"
        stranger.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))

        with user.transaction():
            user.execute(
                fence_sql(database.schema),
                {"group": "orders", "term": term, "session": holder.session},
            )
        user.close()

"""A fenced transaction keeps its token row, until its session is over."""

from __future__ import annotations

import time
import uuid

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from coordinator.errors import DatabaseUnreachableError
from coordinator.store.sql.fence import fence_sql
from tests.conformance.worlds import Node, take_request
from tests.support.bounds import within
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real


def fenced(database, node: Node, term: int) -> psycopg.Connection:
    """Open a user's transaction under the node's fence."""
    connection = database.connect()
    connection.execute("BEGIN")
    connection.execute(
        fence_sql(database.schema),
        {"group": node.facts.group, "term": term, "session": node.session},
    )
    connection.execute("CREATE TABLE effect (wrote text)")
    return connection


def test_heartbeats_go_on_under_a_fence(database):
    with joined_nodes(database, "a") as (holder,), fenced(database, holder, holder.win()) as user:
        assert holder.beat().done
        user.execute("COMMIT")

    assert database.query("SELECT count(*) FROM effect") == [(0,)]


def test_takeover_ends_a_frozen_fenced_transaction(database):
    """F2: it ends that backend instead of waiting for ever."""

    with joined_nodes(database, "h", "a") as (holder, taker):
        user = fenced(database, holder, holder.win())

        started_at = time.monotonic()
        answer = taker.take(taker.look())
        took_s = time.monotonic() - started_at

        assert answer.done
        within(took_s, 1.0)
        with pytest.raises(psycopg.OperationalError):
            user.execute("COMMIT")
        user.close()
    assert database.query("SELECT to_regclass('effect')") == [(None,)]


def test_takeover_of_a_holder_that_beat_again_leaves_its_fence_alone(database):
    with (
        joined_nodes(database, "h", "a") as (holder, taker),
        fenced(database, holder, holder.win()) as user,
    ):
        view = taker.look()
        holder.beat()

        assert not taker.take(view).done

        user.execute("COMMIT")


def test_taker_with_an_old_view_leaves_a_successors_fence_alone(database):
    with joined_nodes(database, "h", "a") as (holder, late):
        free = late.look()
        with fenced(database, holder, holder.win()) as user:
            assert not late.take(free).done

            user.execute("COMMIT")


def test_release_ends_what_the_ended_program_left_open(database):
    with joined_nodes(database, "h", "a") as (holder, other):
        term = holder.win()
        user = fenced(database, holder, term)

        assert holder.release(term).done

        with pytest.raises(psycopg.OperationalError):
            user.execute("COMMIT")
        user.close()
        assert other.win() == term + 1


def test_leave_ends_what_the_ended_program_left_open(database):
    with joined_nodes(database, "h") as (holder,):
        user = fenced(database, holder, holder.win())

        assert holder.leave().done

        with pytest.raises(psycopg.OperationalError):
            user.execute("COMMIT")
        user.close()


def test_token_of_an_ended_session_is_taken_from_under_its_fence(database):
    with joined_nodes(database, "h", "a") as (holder, taker):
        user = fenced(database, holder, holder.win())
        holder.rejoin()

        assert taker.take(taker.look()).done

        with pytest.raises(psycopg.OperationalError):
            user.execute("COMMIT")
        user.close()


def test_fence_of_another_role_blocks_for_no_longer_than_the_lock_timeout(database):
    with joined_nodes(database, "h", "a") as (holder, taker):
        term = holder.win()
        database.query("CREATE ROLE app_user LOGIN")
        database.query(f"GRANT USAGE ON SCHEMA {database.schema} TO app_user")
        database.query(
            f"GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA {database.schema} TO app_user"
        )
        view = taker.look()
        stranger = make_conninfo(database.conninfo, user="app_user")
        with psycopg.connect(stranger, autocommit=True) as user:
            user.execute("BEGIN")
            user.execute(
                fence_sql(database.schema),
                {"group": holder.facts.group, "term": term, "session": holder.session},
            )

            with pytest.raises(DatabaseUnreachableError, match="lock timeout"):
                taker.connection.ask(take_request(taker.session, view), 0.6)

            user.execute("ROLLBACK")
    database.query("DROP OWNED BY app_user; DROP ROLE app_user")


def test_fence_refuses_an_old_term_and_another_session(database):
    """F1: only the current holding passes."""

    with joined_nodes(database, "h") as (holder,):
        term = holder.win()
        for changes in ({"term": term + 1}, {"session": str(uuid.uuid4())}):
            asked = {"group": holder.facts.group, "term": term, "session": holder.session}
            with database.connect() as user, pytest.raises(errors.Error) as caught:
                user.execute(fence_sql(database.schema), {**asked, **changes})
            assert caught.value.sqlstate == "CF001"

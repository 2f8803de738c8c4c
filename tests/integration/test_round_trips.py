"""Count the round trips of a race over a slow path."""

from __future__ import annotations

import pytest

from coordinator.protocol.messages.requests import Answer, Leave
from coordinator.store.sql.statement import named
from coordinator.store.sql.view import READ_VIEW, view_of
from tests.conformance.worlds import Node
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.round_trips import counted

pytestmark = pytest.mark.real

#: One that says what it runs under, and refuses nothing.
TELL_LEVEL = """
CREATE TABLE level_seen (level text);
CREATE FUNCTION tell_level() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO <schema>.level_seen VALUES (current_setting('transaction_isolation'));
    RETURN NEW;
END $$;
CREATE TRIGGER tell_level AFTER UPDATE ON token_holder FOR EACH ROW EXECUTE FUNCTION tell_level()
"""


def leave(node: Node) -> Answer:
    return node.ask(Leave(session=node.session, reason="stopped"))


def test_a_free_token_is_taken_in_two_round_trips_and_released_in_one(database):
    with joined_nodes(database, "a") as (node,):
        view = node.look()

        taken, take_trips = counted(node, lambda: node.take(view))
        released, release_trips = counted(node, lambda: node.release(taken.term))

    assert taken.done
    assert released.done
    assert (take_trips, release_trips) == (2, 1)


@pytest.mark.parametrize("hosts_tasks", [False, True])
def test_a_takeover_is_two_round_trips(database, hosts_tasks):
    """O3: also where it is the first decision of an observer, which is written down as one."""
    with joined_nodes(database, "a", "b", hosts_tasks=hosts_tasks) as (holder, taker):
        holder.win()
        view = taker.look()

        taken, trips = counted(taker, lambda: taker.take(view))

    assert taken.done
    assert trips == 2


def test_a_take_that_is_refused_is_three_round_trips(database):
    """The refusal, what undoes it, and a look at what is so."""
    with joined_nodes(database, "a", "b") as (holder, taker):
        holder.win()
        taker.beat()
        view = taker.look()
        holder.beat()

        refused, trips = counted(taker, lambda: taker.take(view))

        beaten, beat_trips = counted(taker, taker.beat)

    assert not refused.done
    assert trips == 3
    assert beaten.done
    assert beat_trips == 1


def test_a_holder_leaves_in_one_round_trip(database):
    with joined_nodes(database, "a") as (node,):
        node.win()

        left, trips = counted(node, lambda: leave(node))

    assert left.done
    assert left.view.token.session is None
    assert trips == 1


def test_a_take_is_serializable_and_a_release_is_not(database):
    """R3: the level is set in the same message as the call."""
    database.query(TELL_LEVEL.replace("<schema>", database.schema))
    with joined_nodes(database, "a") as (node,):
        node.release(node.win())

    assert database.query("SELECT level FROM level_seen") == [
        ("serializable",),
        ("read committed",),
    ]


def test_a_refused_take_leaves_nothing_behind(database):
    """The functions end nothing: what is not agreed to is undone by the caller."""
    with joined_nodes(database, "a", "b") as (holder, taker):
        holder.win()
        rows = "SELECT task_id, session, beat, ended_at FROM health_check ORDER BY task_id"
        view = taker.look()
        holder.beat()
        before = database.query(rows)

        assert not taker.take(view).done

        assert database.query(rows) == before


def test_the_view_of_a_call_is_that_of_a_statement(database):
    """Two texts, one in a migration: they must show the same, column by column."""
    with joined_nodes(database, "a") as (node,):
        node.win()
        cursor, place = node.connection._cursor, node.connection._place
        params = place.params()

        told = cursor.execute(
            f'SELECT "{place.schema}".coord_view(%(system)s, %(group)s, %(token)s)', params
        ).fetchone()[0]
        read = cursor.execute(named(READ_VIEW, place.schema), params).fetchone()

    age = 16
    assert [*told[:age], *told[age + 1 :]] == [*read[:age], *read[age + 1 :]]
    assert 0.0 < told[age] < read[age] < told[age] + 5.0
    assert view_of(told, place.system_identifier).holder.session == node.session

"""The end of a holding, and its reason: gaps of takeovers are counted from it."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.protocol.messages.requests import Join, Leave, Release
from tests.conformance.worlds import Node
from tests.support.nodes.store_nodes import connected_node, joined_nodes

pytestmark = pytest.mark.real


def gaps(database: Any) -> list[tuple[Any, ...]]:
    return database.query(
        "SELECT term, from_task, gap_s, reason FROM coord_history WHERE term > 1 ORDER BY term"
    )


def back(node: Node, **told: Any) -> None:
    """Join anew in the same process."""
    previous, node.session = node.session, node.session[:-4] + "beef"
    assert node.ask(Join(session=node.session, previous=previous, **told)).done


def test_an_outage_that_ended_the_own_session_is_told_with_its_reason(database):
    """The program ended 3 s before its node was heard again: nobody ran for 3 s."""
    with joined_nodes(database, "a") as (node,):
        term = node.win()

        back(node, over="no heartbeat was acknowledged", ended_term=term, ended_s=3.0)
        assert node.take(node.look(), reason="").done

    ((_, previous, gap_s, reason),) = gaps(database)
    assert (previous, reason) == ("a", "no heartbeat was acknowledged")
    assert 3.0 <= gap_s < 10.0


@pytest.mark.parametrize("leaves", [False, True], ids=["release", "leave"])
def test_a_token_that_is_given_back_late_was_active_until_the_programs_end(database, leaves):
    """The program ended 3 s before its node was heard again, in a session that lives."""
    with joined_nodes(database, "a", "b") as (old, new):
        term = old.win()

        request = (
            Leave(session=old.session, reason="SIGTERM", ended_term=term, ended_s=3.0)
            if leaves
            else Release(session=old.session, term=term, reason="given up", ended_s=3.0)
        )
        assert old.ask(request).done
        assert new.take(new.look()).done

    ((_, previous, gap_s, _),) = gaps(database)
    assert previous == "a"
    assert 3.0 <= gap_s < 10.0


def test_a_term_that_followed_a_release_has_the_reason_of_that_release(database):
    with joined_nodes(database, "a", "b") as (old, new):
        term = old.win()
        assert old.ask(Release(session=old.session, term=term, reason="SIGUSR1")).done

        assert new.take(new.look(), reason="").done

    ((_, previous, _, reason),) = gaps(database)
    assert (previous, reason) == ("a", "SIGUSR1")


def test_a_node_that_was_taken_for_dead_tells_until_when_it_ran(database):
    """Its program ended 1 s ago, after the takeover: for that long two ran."""
    with joined_nodes(database, "a", "b") as (old, new):
        term = old.win()
        assert new.take(new.look()).done
        database.query(
            "UPDATE token_history SET acquired_at = now() - interval '9 s' WHERE term > 1"
        )

        back(old, ended_term=term, ended_s=1.0)

    ((_, previous, gap_s, _),) = gaps(database)
    assert previous == "a"
    assert -9.0 < gap_s < -4.0


def test_a_node_that_crashed_and_came_back_is_counted_from_its_last_heartbeat(database):
    """Its own row is written over when it joins: the history keeps what it said."""
    with joined_nodes(database, "a") as (old,):
        old.win()
        database.query(
            "UPDATE health_check SET last_heartbeat = now() - interval '5 s', ended_at = now()"
        )
    with connected_node(database, "a") as new:
        assert new.join().done
        new.win()

    ((_, previous, gap_s, _),) = gaps(database)
    assert previous == "a"
    assert 5.0 <= gap_s < 15.0


def test_a_token_that_was_set_back_by_hand_gets_a_term_above_its_history(database):
    """N1: somebody made the row anew with an old term; nobody remembers the last one."""
    with joined_nodes(database, "a") as (node,):
        for _ in range(3):
            node.release(node.win())
        database.query("UPDATE token_holder SET term = 1")

        assert node.win() == 4

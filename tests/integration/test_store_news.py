"""O6: a heartbeat shows what a whole look would show, whatever has changed since the one before.

Nobody is notified here: each change is written behind everybody's back, and the heartbeat, that
tells little while nothing is new, has to find it out by itself.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.errors import OutcomeUnknownError
from coordinator.protocol.requests import Identity, View
from coordinator.store import heartbeat, postgres
from coordinator.store.transaction import alone
from coordinator.store.view import look, read_view
from tests.support.round_trips import counted
from tests.support.store_nodes import joined_nodes, settle

pytestmark = pytest.mark.real

VERSION = "UPDATE group_record SET version = version + 1"
HOLDER = "UPDATE health_check SET {} WHERE task_id = 'holder'"
TOKEN = "UPDATE token_holder SET {}"
#: By what is other than it was; one for each thing that a view says.
NEWS = {
    "term": TOKEN.format("term = term + 1"),
    "floor": TOKEN.format("term_floor = term + 7"),
    "released": TOKEN.format("session = NULL"),
    "holding session": TOKEN.format("session = gen_random_uuid()"),
    "holding node": TOKEN.format("task_id = 'standby'"),
    "no token": "DELETE FROM token_holder",
    "ended": HOLDER.format("ended_at = now()"),
    "holder's session": HOLDER.format("session = gen_random_uuid()"),
    "interval": HOLDER.format("liveness_ms = 7000"),
    "heartbeat": HOLDER.format("heartbeat_ms = 1500"),
    "host": HOLDER.format("host = 'elsewhere'"),
    "pid": HOLDER.format("pid = 4711"),
    "no address": HOLDER.format("host = NULL"),
    "no holder": "DELETE FROM health_check WHERE task_id = 'holder'",
}


@pytest.mark.parametrize("change", NEWS)
def test_the_next_beat_of_a_standby_shows(database, change):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        database.query("UPDATE health_check SET host = 'here', pid = 17")
        settle(standby)
        before = standby.beat().view

        database.query(NEWS[change])
        answer, trips = counted(standby, standby.beat)

        assert answer.done
        assert ageless(answer.view) == whole_view(standby)
        assert ageless(answer.view) != ageless(before)
        assert trips == 2


def test_the_holders_beat_is_no_news(database):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        settle(standby)

        for _ in range(3):
            beat = holder.beat().view.holder.beat
            answer, trips = counted(standby, standby.beat)

            assert answer.view.holder.beat == beat
            assert ageless(answer.view) == whole_view(standby)
            assert trips == 1


@pytest.mark.parametrize("change", [VERSION, "DELETE FROM group_record"])
def test_the_version_is_told_by_every_beat(database, change):
    """A node that joins raises it, and notifies nobody."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        settle(standby)
        before = standby.beat().view

        database.query(change)
        answer, trips = counted(standby, standby.beat)

        assert ageless(answer.view) == whole_view(standby)
        assert answer.view.group_version != before.group_version
        assert trips == 1


def test_the_age_of_the_holders_beat_is_of_now(database):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        settle(standby)
        database.query(HOLDER.format("last_heartbeat = last_heartbeat - interval '60 s'"))

        assert 60.0 <= standby.beat().view.holder.age_s < 70.0


def test_a_holder_sees_its_own_beat(database):
    with joined_nodes(database, "holder") as (holder,):
        holder.win()
        settle(holder)

        answer, trips = counted(holder, holder.beat)

        assert answer.view.holder.age_s == 0.0
        assert ageless(answer.view) == whole_view(holder)
        assert trips == 1


@pytest.mark.parametrize("name", ["holder", "standby"])
def test_a_session_that_was_ended_hears_it_from_its_next_beat(database, name):
    with joined_nodes(database, "holder", "standby") as nodes:
        nodes[0].win()
        node = nodes[("holder", "standby").index(name)]
        settle(node)
        database.query("UPDATE health_check SET ended_at = now() WHERE task_id = %s", name)

        answer = node.beat()

        assert not answer.done
        assert ageless(answer.view) == whole_view(node)


def test_after_a_notification_one_round_trip_shows_everything(database):
    """A handover does not wait for a heartbeat that finds out that there is more to read."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        term = holder.win()
        settle(standby)
        assert standby.heard()
        standby.beat()

        holder.release(term)
        assert standby.heard()
        answer, trips = counted(standby, standby.beat)

    assert answer.view.token.session is None
    assert trips == 1


@pytest.mark.parametrize("part", ["started_at", "timeline"])
def test_a_beat_that_was_written_elsewhere_is_of_unknown_outcome(database, part, monkeypatch):
    """A pooler may switch servers between two beats of one connection, and back for the view."""
    with joined_nodes(database, "holder") as (holder,):
        holder.win()
        known = holder.beat().view
        there = moved(known.identity, part)
        holder.connection._view = replace(known, identity=there)
        place = holder.connection._place
        holder.connection._place = replace(place, started_at=there.started_at)
        looks_at(there, monkeypatch)

        with pytest.raises(OutcomeUnknownError, match="another server"):
            holder.beat()


def test_a_session_that_seems_to_be_over_is_asked_for_once_more(database, monkeypatch):
    """Where the first server had no such session, the second one's word is whole: beat and view."""
    with joined_nodes(database, "holder") as (holder,):
        holder.win()
        settle(holder)
        asked = []

        def elsewhere_first(cursor, statement, params, *, prepare):
            asked.append(statement)
            return None if len(asked) == 1 else alone(cursor, statement, params, prepare=prepare)

        monkeypatch.setattr(heartbeat, "alone", elsewhere_first)
        answer = holder.beat()

        assert answer.done
        assert answer.view.token.session == holder.session
        assert len(asked) == 2


def test_on_a_slow_path_everything_is_read_at_once(database, monkeypatch):
    """Two round trips might take longer than a heartbeat may."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        settle(standby)
        monkeypatch.setattr(postgres, "QUICK_SHARE", 0.0)
        standby.beat()

        database.query(NEWS["floor"])
        answer, trips = counted(standby, standby.beat)

        assert ageless(answer.view) == whole_view(standby)
        assert trips == 1


def test_a_view_that_was_read_elsewhere_is_none_of_the_beats(database, monkeypatch):
    with joined_nodes(database, "holder") as (holder,):
        holder.win()
        known = holder.beat().view
        looks_at(moved(known.identity, "timeline"), monkeypatch)
        database.query(NEWS["floor"])

        with pytest.raises(OutcomeUnknownError, match="another server"):
            holder.beat()


def moved(identity: Identity, part: str) -> Identity:
    return replace(identity, **{part: getattr(identity, part) + 1})


def looks_at(identity: Identity, monkeypatch) -> None:
    """Let the look after a heartbeat be answered by another server."""
    monkeypatch.setattr(
        heartbeat, "look", lambda cursor, place: replace(look(cursor, place), identity=identity)
    )


def whole_view(node) -> View:
    """Return what the database shows in one look, made for nothing else."""
    return ageless(read_view(node.connection._cursor, node.connection._place))


def ageless(view: View) -> View:
    """Return a view without what time alone changes."""
    return view if view.holder is None else replace(view, holder=replace(view.holder, age_s=0.0))

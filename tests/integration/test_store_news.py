"""O6: what a heartbeat shows at once, and what it shows when it looks at everything.

Each change is written behind everybody's back, unless a test says that the group is notified.
"""

from __future__ import annotations

import select
from dataclasses import replace

import pytest

from coordinator.errors import OutcomeUnknownError
from coordinator.protocol.messages.requests import Beat, View
from coordinator.protocol.node.state import last_seen
from coordinator.protocol.node.state.last_seen import LOOK_EVERY
from coordinator.store.node import heartbeat
from coordinator.store.sql.view import read_view
from tests.conformance.worlds import TIMEOUT_S
from tests.support.nodes.store_nodes import joined_nodes, settle
from tests.support.servers.round_trips import counted

pytestmark = pytest.mark.real

HOLDER = "UPDATE health_check SET {} WHERE task_id = 'holder'"
TOKEN = "UPDATE token_holder SET {}"
#: The holder's session is over, or its beats have another interval.
AT_ONCE = {
    "interval": HOLDER.format("liveness_ms = 7000"),
    "ended": HOLDER.format("ended_at = now()"),
    "another session": HOLDER.format("session = gen_random_uuid()"),
    "no session": HOLDER.format("session = NULL"),
    "no row": "DELETE FROM health_check WHERE task_id = 'holder'",
}
#: Changes that coord never makes without a notification, or on which nothing depends.
IN_TIME = {
    "term": TOKEN.format("term = term + 1"),
    "floor": TOKEN.format("term_floor = term + 7"),
    "released": TOKEN.format("session = NULL"),
    "holding session": TOKEN.format("session = gen_random_uuid()"),
    "holding node": TOKEN.format("task_id = 'standby'"),
    "heartbeat": HOLDER.format("heartbeat_ms = 1500"),
    "host": HOLDER.format("host = 'elsewhere'"),
    "pid": HOLDER.format("pid = 4711"),
    "no address": HOLDER.format("host = NULL"),
    "version": "UPDATE group_record SET version = version + 1",
}
ALL = {**AT_ONCE, **IN_TIME}


@pytest.mark.parametrize("change", AT_ONCE)
def test_the_end_of_a_watch_is_shown_by_the_next_beat(database, change):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        assert standby.heard()
        settle(standby)
        before = standby.beat().view
        beat = beat_of("standby", database)

        database.query(AT_ONCE[change])
        answer, trips = counted(standby, standby.beat)

        assert answer.done
        assert ageless(answer.view) == whole_view(standby)
        assert ageless(answer.view) != ageless(before)
        assert beat_of("standby", database) == beat + 1
        assert trips == 2


@pytest.mark.parametrize("change", IN_TIME)
def test_one_beat_of_twenty_shows_everything(database, change):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        assert standby.heard()
        database.query("UPDATE health_check SET host = 'here', pid = 17")
        settle(standby)
        before = beatless(standby.beat().view)
        database.query(IN_TIME[change])
        after = beatless(whole_view(standby))

        beats = [counted(standby, standby.beat) for _ in range(LOOK_EVERY)]

        shown = [beatless(answer.view) for answer, _ in beats]
        assert after in shown
        assert before in shown, "each beat looks"
        assert {trips for _, trips in beats} == {1}


@pytest.mark.parametrize("hosts_tasks", [False, True], ids=["program", "tasks"])
@pytest.mark.parametrize("change", ALL)
def test_behind_a_pooler_every_beat_shows_everything(database, change, hosts_tasks):
    """Nobody notifies it of a release, nor of a version that the tasks it runs hang on (D4)."""
    with joined_nodes(database, "holder", "standby", hosts_tasks=hosts_tasks) as (holder, standby):
        holder.win()
        standby.connection._last_seen = replace(standby.connection._last_seen, lent=True)
        settle(standby)
        database.query(ALL[change])

        answer, trips = counted(standby, standby.beat)

        assert ageless(answer.view) == whole_view(standby)
        assert trips == 1


def test_the_holders_beat_is_no_news(database):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        assert standby.heard()
        settle(standby)

        for _ in range(3):
            beat = holder.beat().view.holder.beat
            answer, trips = counted(standby, standby.beat)

            assert answer.view.holder.beat == beat
            assert ageless(answer.view) == whole_view(standby)
            assert trips == 1


def test_a_task_group_is_told_of_each_version(database):
    with joined_nodes(database, "holder", "standby", hosts_tasks=True) as (holder, standby):
        holder.win()
        assert standby.heard()
        settle(standby)
        for number in range(3):
            settle(standby)
            with joined_nodes(database, f"late-{number}", hosts_tasks=True):
                assert standby.heard()
                answer, trips = counted(standby, standby.beat)

                assert answer.view.group_version == whole_view(standby).group_version
                assert trips == 1


def test_a_notification_that_comes_with_an_answer_is_heeded(database):
    """It was read by the request before, so no selector wakes for it."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        term = holder.win()
        assert standby.heard()
        settle(standby)

        holder.release(term)
        shown = [standby.beat().view.token.session for _ in range(3)]

    assert shown[-1] is None


def test_a_notification_that_was_read_before_the_beat_is_heeded(database):
    """Another limit for the request is a statement of its own, which reads what was notified."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        term = holder.win()
        assert standby.heard()
        settle(standby)

        holder.release(term)
        assert select.select([standby.connection], [], [], TIMEOUT_S)[0]
        answer = standby.connection.ask(Beat(session=standby.session), 2 * TIMEOUT_S)

    assert answer.view.token.session is None


def test_a_beat_that_another_process_answers_is_dropped(database, monkeypatch):
    """A pooler that greets as one of its servers is found out; nothing is told of through it."""
    with joined_nodes(database, "holder") as (holder,):
        holder.win()
        settle(holder)
        elsewhere = heartbeat.BEAT_AND_WATCH.replace("pg_backend_pid()", "pg_backend_pid() + 1")
        monkeypatch.setattr(heartbeat, "BEAT_AND_WATCH", elsewhere)

        with pytest.raises(OutcomeUnknownError, match="another process"):
            holder.beat()


@pytest.mark.parametrize(("ago_s", "at_least"), [(60.0, 60.0), (-60.0, 0.0)])
def test_the_age_of_the_holders_beat_is_of_now(database, ago_s, at_least):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        assert standby.heard()
        settle(standby)
        earlier = HOLDER.format("last_heartbeat = clock_timestamp() - make_interval(secs => %s)")
        database.query(earlier, ago_s)

        assert at_least <= standby.beat().view.holder.age_s < at_least + 10.0


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
        beat = beat_of(name, database)

        answer = node.beat()

        assert not answer.done
        assert ageless(answer.view) == whole_view(node)
        assert beat_of(name, database) == beat


def test_a_beat_for_another_session_of_the_node_is_not_written(database):
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        assert standby.heard()
        settle(standby)
        database.query(
            "UPDATE health_check SET session = gen_random_uuid() WHERE task_id LIKE 's%'"
        )
        beat = beat_of("standby", database)

        assert not standby.beat().done
        assert beat_of("standby", database) == beat


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("UPDATE database_epoch SET settled = false", "UPDATE database_epoch SET settled = true"),
        (TOKEN.format("session = NULL"), TOKEN.format("term = term + 1")),
        (HOLDER.format("ended_at = now()"), HOLDER.format("ended_at = NULL")),
    ],
    ids=["unsettled", "free", "ended"],
)
def test_while_the_token_is_not_surely_held_every_beat_shows_everything(database, before, after):
    """E2: on an identity that is not settled all wait for the moment at which it is."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        assert standby.heard()
        database.query(before)
        settle(standby)
        database.query(after)

        answer, trips = counted(standby, standby.beat)

        assert ageless(answer.view) == whole_view(standby)
        assert trips == 1


def test_after_a_notification_one_round_trip_shows_everything(database):
    """A handover does not wait for a heartbeat that finds out that there is more to read."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        term = holder.win()
        assert standby.heard()
        settle(standby)

        holder.release(term)
        assert standby.heard()
        answer, trips = counted(standby, standby.beat)

    assert answer.view.token.session is None
    assert trips == 1


def test_on_a_slow_path_everything_is_read_at_once(database, monkeypatch):
    """Two round trips might take longer than a heartbeat may."""
    with joined_nodes(database, "holder", "standby") as (holder, standby):
        holder.win()
        assert standby.heard()
        settle(standby)
        monkeypatch.setattr(last_seen, "QUICK_SHARE", 0.0)
        standby.beat()

        database.query(AT_ONCE["ended"])
        answer, trips = counted(standby, standby.beat)

        assert ageless(answer.view) == whole_view(standby)
        assert trips == 1


def beat_of(name: str, database) -> int:
    return database.query("SELECT beat FROM health_check WHERE task_id = %s", name)[0][0]


def whole_view(node) -> View:
    """Return what the database shows in one look, made for nothing else."""
    return ageless(read_view(node.connection._cursor, node.connection._place))


def beatless(view: View) -> View:
    """Return a view without what heartbeats alone change."""
    seen = ageless(view)
    return seen if seen.holder is None else replace(seen, holder=replace(seen.holder, beat=0))


def ageless(view: View) -> View:
    """Return a view without what time alone changes."""
    return view if view.holder is None else replace(view, holder=replace(view.holder, age_s=0.0))

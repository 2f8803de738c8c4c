"""A session lives by its beats, belongs to one node, and never lives twice."""

from __future__ import annotations

import uuid

from coordinator.protocol.messages.requests import Beat, EndNamesake, Join, ReadRoster


def test_join_starts_a_session_that_beats(node):
    alone = node("a")

    answer = alone.beat()

    assert answer.done
    assert answer.term == 0
    assert answer.roster == ()


def test_join_is_refused_by_a_live_namesake_and_shows_it(node, connected):
    first, second = node("a"), connected("a")

    answer = second.join()

    assert not answer.done
    assert answer.namesake is not None
    assert answer.namesake.session == first.session
    assert not answer.namesake.ended
    assert answer.namesake.where == "web-1:811"
    assert answer.namesake.liveness_s == 6.0
    assert first.beat().done


def test_join_replaces_the_previous_session_of_the_same_life(node):
    alone = node("a")
    old = alone.session

    answer = alone.rejoin()

    assert answer.done
    assert not alone.ask(Beat(session=old)).done


def test_join_may_be_asked_again_after_a_lost_answer(node):
    alone = node("a")
    before = alone.look().group_version

    again = alone.join()

    assert again.done
    assert again.view.group_version == before


def test_join_takes_a_row_whose_session_was_ended(node, connected):
    node("a").leave()

    assert connected("a").join().done


def test_a_session_that_was_ended_cannot_be_joined_again(node):
    alone = node("a")
    alone.leave()

    assert not alone.join().done
    assert not alone.beat().done


def test_beats_rise_over_the_sessions_of_a_node(node):
    alone = node("a")
    alone.win()
    first = alone.look().holder.beat

    second = alone.rejoin().view.holder.beat

    assert second > first


def test_beat_shows_the_beat_that_it_wrote(node):
    alone = node("a")
    alone.win()
    before = alone.look().holder.beat

    answer = alone.beat()

    assert answer.view.holder.beat == before + 1
    assert alone.look().holder.beat == before + 1


def test_beat_of_an_ended_session_is_not_done(node):
    alone = node("a")
    alone.leave()

    assert not alone.beat().done


def test_beat_of_an_unknown_session_is_not_done_and_writes_nothing(node):
    alone = node("a")
    alone.win()
    before = alone.look().holder.beat

    answer = alone.ask(Beat(session=str(uuid.uuid4())))

    assert not answer.done
    assert alone.look().holder.beat == before


def test_silent_namesake_is_ended_and_the_row_is_free(node, connected):
    node("a")
    second = connected("a")
    seen = second.join().namesake

    ended = second.ask(EndNamesake(session=seen.session, beat=seen.beat))

    assert ended.done
    assert second.join().done


def test_namesake_that_beat_once_more_is_not_ended(node, connected):
    first, second = node("a"), connected("a")
    seen = second.join().namesake
    first.beat()

    answer = second.ask(EndNamesake(session=seen.session, beat=seen.beat))

    assert not answer.done
    assert first.beat().done


def test_leave_ends_the_session_once(node):
    alone = node("a")

    assert alone.leave().done
    assert not alone.leave().done


def test_join_and_leave_change_the_groups_version_and_a_rejoin_does_not(node):
    first = node("a")
    version = first.look().group_version

    second = node("b")
    joined = first.look().group_version
    second.rejoin()
    rejoined = first.look().group_version
    second.leave()
    left = first.look().group_version

    assert joined > version
    assert rejoined == joined
    assert left > rejoined


def test_a_changed_priority_changes_the_groups_version(node, connected):
    first = node("a")
    before = first.look().group_version
    second = connected("a", priority=7)

    second.ask(Join(session=str(uuid.uuid4()), previous=first.session))

    assert second.look().group_version > before


def test_leave_is_heard_by_the_others(node):
    first, second = node("a"), node("b")
    second.connection.heard()

    first.leave()

    assert second.heard()


def test_beats_are_heard_by_nobody(node):
    first, second = node("a"), node("b")
    second.connection.heard()

    first.beat()

    assert not second.heard(timeout_s=0.05)


def test_roster_names_live_nodes_with_their_priorities(node, connected, world):
    first = node("a", priority=5)
    node("b", priority=0)
    node("c").leave()
    connected("never-joined")
    node("other", group="elsewhere")

    answer = first.ask(ReadRoster())

    assert answer.done
    assert {(one.node, one.priority) for one in answer.roster} == {("a", 5), ("b", 0)}
    assert all(0 <= one.age_s < 60 and one.heartbeat_s == 1.0 for one in answer.roster)


def test_roster_leaves_out_who_was_silent_for_two_of_its_own_intervals(node, world):
    first = node("a", liveness_s=3.0)
    node("slow", liveness_s=30.0)
    node("silent", liveness_s=3.0)
    world.pass_time(7.0)
    first.beat()

    names = {candidate.node for candidate in first.ask(ReadRoster()).roster}

    assert names == {"a", "slow"}


def test_groups_do_not_see_each_other(node):
    first, other = node("a"), node("a", group="elsewhere")

    first.win()

    assert other.look().token.session is None
    assert other.beat().done


def test_every_node_sees_at_which_address_the_holder_is_reached(node):
    holder, other = node("a"), node("b")
    holder.win()

    for view in (other.look(), other.beat().view, holder.look()):
        assert view.holder is not None
        assert view.holder.address == "a.example:8080"

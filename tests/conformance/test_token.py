"""The token changes hands in no other way than: released, or its session ended first."""

from __future__ import annotations

import uuid
from dataclasses import replace

from coordinator.protocol.messages.requests import RaiseFloor


def test_a_new_token_is_free_in_term_0(node):
    view = node("a").look()

    assert view.token.term == 0
    assert view.token.session is None
    assert view.token.node is None
    assert view.holder is None


def test_free_token_is_taken_and_shown(node):
    alone = node("a")

    answer = alone.take(alone.look())

    assert answer.done
    assert answer.term == 1
    assert answer.view.token.node == "a"
    assert answer.view.token.session == alone.session
    assert answer.view.holder.session == alone.session
    assert not answer.view.holder.ended


def test_taking_is_a_heartbeat_of_the_taker(node):
    alone = node("a")
    alone.win()
    alone.release(1)
    before = alone.look().holder.beat

    answer = alone.take(alone.look())

    assert answer.view.holder.beat == before + 1


def test_of_two_takers_that_saw_the_same_one_wins(node):
    """R2: compare-and-set on the row."""

    first, second = node("a"), node("b")
    view = first.look()

    answers = first.take(view), second.take(view)

    assert [answer.done for answer in answers] == [True, False]
    assert answers[1].view.token.session == first.session


def test_of_two_takers_of_the_same_silent_holder_one_wins(node):
    holder, first, second = node("h"), node("a"), node("b")
    holder.win()
    view = first.look()

    answers = first.take(view), second.take(view)

    assert [answer.done for answer in answers] == [True, False]
    assert first.beat().done
    assert second.beat().done


def test_take_without_a_live_own_session_is_refused(node, connected):
    outsider = connected("a")

    answer = outsider.take(outsider.look())

    assert not answer.done
    assert answer.view.token.session is None


def test_take_after_the_own_session_was_ended_is_refused(node):
    alone = node("a")
    view = alone.look()
    alone.leave()

    assert not alone.take(view).done


def test_takeover_ends_the_silent_session(node):
    holder, taker = node("h"), node("a")
    holder.win()

    answer = taker.take(taker.look())

    assert answer.done
    assert answer.term == 2
    assert not holder.beat().done


def test_takeover_of_a_holder_that_beat_once_more_is_refused_and_it_lives(node):
    """R1: one row conflict decides between a late heartbeat and a takeover."""

    holder, taker = node("h"), node("a")
    holder.win()
    view = taker.look()
    holder.beat()

    answer = taker.take(view)

    assert not answer.done
    assert holder.beat().done
    assert answer.view.token.session == holder.session


def test_refused_takeover_does_not_end_the_silent_session(node):
    """R1: one transaction, wholly or not at all."""

    holder, taker = node("h"), node("a")
    term = holder.win()
    view = taker.look()

    for changes in (
        {"branch": str(uuid.uuid4())},
        {"seen_term": term + 1},
        {"session": str(uuid.uuid4())},
    ):
        assert not taker.take(view, **changes).done

    assert holder.beat().done


def test_refused_take_is_no_heartbeat(node):
    alone = node("a")
    alone.win()
    alone.release(1)
    view = alone.look()

    answer = alone.take(view, seen_term=99)

    assert not answer.done
    assert answer.view.holder.beat == view.holder.beat


def test_token_of_a_live_session_cannot_be_taken_as_free(node):
    """R5: released by its own session, or after its session has ended."""

    holder, taker = node("h"), node("a")
    holder.win()

    answer = taker.take(taker.look(), seen_beat=None)

    assert not answer.done
    assert holder.beat().done


def test_token_of_an_ended_session_is_free(node, connected):
    """R5: released by its own session, or after its session has ended."""

    holder, taker = node("h"), node("a")
    holder.win()
    namesake = connected("h")
    namesake.join(previous=holder.session)

    answer = taker.take(taker.look())

    assert answer.done
    assert answer.term == 2
    assert namesake.beat().done


def test_seen_as_released_does_not_take_what_somebody_holds(node):
    holder, taker = node("h"), node("a")
    term = holder.win()

    answer = taker.take(taker.look(), seen_session=None, seen_beat=None, seen_term=term)

    assert not answer.done


def test_release_frees_the_token_and_the_next_term_is_one_higher(node):
    first, second = node("a"), node("b")
    term = first.win()

    released = first.release(term)

    assert released.done
    assert released.view.token.session is None
    assert released.view.token.term == term
    assert second.win() == term + 1


def test_release_of_another_term_or_session_is_not_done(node):
    holder, other = node("h"), node("a")
    term = holder.win()

    assert not holder.release(term + 1).done
    assert not other.release(term).done
    assert holder.look().token.session == holder.session


def test_release_twice_is_not_done_the_second_time(node):
    alone = node("a")
    term = alone.win()

    assert alone.release(term).done
    assert not alone.release(term).done


def test_release_is_heard_by_the_others(node):
    first, second = node("a"), node("b")
    term = first.win()
    second.connection.heard()
    second.beat()
    second.connection.heard()

    first.release(term)

    assert second.heard()


def test_leave_frees_the_token(node):
    holder, other = node("h"), node("a")
    term = holder.win()

    answer = holder.leave()

    assert answer.done
    assert answer.view.token.session is None
    assert other.win() == term + 1


def test_leave_of_an_ended_session_does_not_touch_the_successors_token(node):
    holder, taker = node("h"), node("a")
    holder.win()
    taker.win()

    assert not holder.leave().done
    assert taker.look().token.session == taker.session


def test_terms_never_start_again(node):
    """N2: a token's row is never deleted."""

    first, second = node("a"), node("b")
    terms = []

    for _ in range(3):
        terms.append(first.win())
        first.release(terms[-1])
        terms.append(second.win())
        second.rejoin()

    assert terms == [1, 2, 3, 4, 5, 6]


def test_next_term_may_jump_to_what_the_asker_remembers(node):
    """N1: the asker computes it."""

    alone = node("a")

    answer = alone.take(alone.look(), next_term=1_000_000_001)

    assert answer.term == 1_000_000_001
    assert answer.view.token.term == 1_000_000_001


def test_term_lies_above_what_any_node_remembers(node):
    """N3: the floor raises the next term."""

    first, second = node("a"), node("b")

    raised = second.ask(RaiseFloor(term=41))

    assert raised.done
    assert raised.view.token.term_floor == 41
    assert first.win() == 42


def test_floor_never_sinks(node):
    alone = node("a")
    alone.ask(RaiseFloor(term=41))

    answer = alone.ask(RaiseFloor(term=7))

    assert answer.view.token.term_floor == 41


def test_term_rises_even_when_the_asker_computed_too_little(node):
    alone = node("a")
    alone.release(alone.win())

    assert alone.take(alone.look(), next_term=1).term == 2


def test_history_tells_each_holding_and_how_it_ended(node, world):
    first, second = node("a"), node("b")
    first.release(first.win())
    second.win()
    first.win()
    first.rejoin()
    second.rejoin()
    second.win()

    assert world.history() == [
        (1, "a", "first", None, "release"),
        (2, "b", "release", "a", "takeover"),
        (3, "a", "takeover", "b", "session ended"),
        (4, "b", "release", "a", None),
    ]


def test_the_view_of_a_request_shows_what_the_request_did(node):
    alone = node("a")

    taken = alone.take(alone.look())

    seen = alone.look()
    assert replace(taken.view, holder=None) == replace(seen, holder=None)
    assert taken.view.holder.beat == seen.holder.beat

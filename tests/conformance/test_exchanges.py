"""An exchange gives tokens back, takes others and shows the rest, in one transaction (rules U)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.messages.holder_requests import Exchange, Give, Silent, TokenNow, Want
from coordinator.protocol.messages.planned import PlannedKind
from coordinator.protocol.messages.requests import Answer
from coordinator.store.admin.planned import Asked
from tests.conformance.worlds import Node

X, Y = "orders/x", "orders/y"


class Holder:
    """A process that holds tokens, as one connection and one session."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.branch = node.look().identity.branch

    def ask(self, **asked: object) -> Answer:
        request = {"session": self.node.session, "branch": self.branch, **asked}
        return self.node.ask(Exchange(**request))  # type: ignore[arg-type]

    def take(self, token: str, *, least: int = 1, silent: Silent | None = None) -> int | None:
        want = Want(token=token, least_term=least, silent=silent, watched_s=6.0)
        return dict(self.ask(wants=(want,)).taken).get(token)

    def give(self, token: str, term: int) -> Answer:
        return self.ask(gives=(Give(token=token, term=term, reason="over", ended_s=0.1),))

    def see(self, token: str) -> TokenNow:
        (seen,) = self.ask(looks=(token,)).tokens
        return seen


@pytest.fixture
def holder(node) -> Callable[[str], Holder]:
    return lambda name: Holder(node(name, holds=True))


def silent(of: Holder, seen: TokenNow, *, beat: int | None = None) -> Silent:
    return Silent(
        node=of.node.facts.node,
        session=of.node.session,
        term=seen.term,
        beat=seen.beat if beat is None else beat,
    )


def test_a_token_that_nobody_has_had_is_free_in_term_0(holder):
    seen = holder("a").see(X)

    assert (seen.token, seen.term, seen.session, seen.free) == (X, 0, None, True)


def test_a_free_token_is_taken_given_back_and_taken_under_a_higher_term(holder, world):
    one, other = holder("a"), holder("b")

    terms = [one.take(X)]
    held = other.see(X)
    one.give(X, 1)
    free = other.see(X)
    terms.append(other.take(X))

    assert terms == [1, 2]
    assert (held.node, held.session, held.term, held.free) == ("a", one.node.session, 1, False)
    assert (held.known, held.liveness_s, held.heartbeat_s) == (True, 6.0, 1.0)
    assert (free.session, free.term, free.free) == (None, 1, True)
    assert world.history() == [(1, "a", "first", None, "release"), (2, "b", "release", "a", None)]


def test_n1_a_term_is_not_below_what_the_taker_remembers(holder):
    assert holder("a").take(X, least=7) == 7


def test_of_two_takers_one_wins_and_the_other_sees_who(holder):
    one, other = holder("a"), holder("b")

    answers = [each.ask(wants=(Want(token=X, least_term=1),)) for each in (one, other)]

    assert [answer.taken for answer in answers] == [((X, 1),), ()]
    assert [[seen.node for seen in answer.tokens] for answer in answers] == [[], ["a"]]


def test_several_tokens_are_given_and_taken_at_once(holder):
    one = holder("a")
    one.take(X)

    answer = one.ask(
        gives=(Give(token=X, term=1, reason="over"),),
        wants=(Want(token=X, least_term=2), Want(token=Y, least_term=1)),
    )

    assert sorted(answer.taken) == [(X, 2), (Y, 1)]
    assert answer.tokens == ()


def test_u2_only_the_holding_that_is_named_is_given_back(holder):
    one, other = holder("a"), holder("b")
    one.take(X)
    for wrong in (lambda: one.give(X, 2), lambda: other.give(X, 1)):
        wrong()

        assert other.see(X).session == one.node.session


def test_r1_a_silent_holder_is_replaced_only_while_it_shows_the_beat_that_was_seen(holder, world):
    dead, other = holder("a"), holder("b")
    dead.take(X)
    seen = other.see(X)
    dead.node.beat()

    early = other.take(X, least=2, silent=silent(dead, seen))
    unseen = other.take(X, least=2)
    late = other.take(X, least=2, silent=silent(dead, other.see(X)))

    assert (early, unseen, late) == (None, None, 2)
    assert not dead.ask(looks=(X,)).done
    assert world.history()[-1] == (2, "b", "takeover", "a", None)


def test_a_token_of_a_session_that_has_ended_is_free(holder):
    one, other = holder("a"), holder("b")
    one.take(X)
    one.take(Y)
    seen = other.see(X)
    other.take(X, least=2, silent=silent(one, seen))

    assert other.see(Y).free
    assert other.take(Y, least=2) == 2


def test_a_session_that_is_over_takes_nothing_and_is_told(holder):
    one, other = holder("a"), holder("b")
    one.take(X)
    other.take(X, least=2, silent=silent(one, other.see(X)))

    answer = one.ask(wants=(Want(token=Y, least_term=1),))

    assert (answer.done, answer.taken) == (False, ())
    assert other.see(Y).term == 0


def test_u4_all_that_a_session_has_is_shown_where_it_is_asked_for(holder):
    one = holder("a")
    for token in (X, Y):
        one.take(token)

    own = sorted(one.ask(own=True).tokens, key=lambda seen: seen.token)

    assert [(seen.token, seen.term, seen.session) for seen in own] == [
        (X, 1, one.node.session),
        (Y, 1, one.node.session),
    ]


def test_e2_nothing_is_taken_on_an_identity_that_is_not_settled(holder, world):
    one = holder("a")
    world.unsettle()

    assert one.take(X) is None


def test_e1_nothing_is_taken_on_another_branch_than_the_one_that_was_seen(holder):
    one = holder("a")
    one.branch = "b0000000-0000-0000-0000-000000000000"

    assert one.take(X) is None


def test_the_token_of_a_task_is_shown_as_one_and_never_taken(holder, world):
    one = holder("a")
    world.define(TaskDef(name="x", spec='{"command": ["true"]}'))

    assert one.take(X) is None
    assert one.see(X).is_task


def test_a3_the_group_s_own_token_is_not_taken_in_a_pause(holder, world):
    one = holder("a")
    world.plan(Asked(kind=PlannedKind.PAUSE_WORK))

    assert one.take("orders") is None
    assert one.take(X) == 1

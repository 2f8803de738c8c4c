"""The group's livenessCheckInterval (rules I), in every kind of database: told, and agreed on."""

from __future__ import annotations

from coordinator.protocol.messages.planned import PlannedChange, PlannedKind, TellInterval
from coordinator.protocol.messages.requests import Beat, Join
from coordinator.protocol.rules.timing import lease_of
from coordinator.store.admin.planned import Asked
from tests.conformance.worlds import Node

LIVENESS = PlannedKind.LIVENESS


def settings(node: Node) -> list[PlannedChange]:
    return [one for one in node.look().planned.changes if one.kind is LIVENESS]


def tell(node: Node, change: int | None, liveness_s: float) -> bool:
    assert change is not None
    request = TellInterval(
        session=node.session,
        change=change,
        liveness_s=liveness_s,
        lease_s=lease_of(liveness_s),
    )
    return node.ask(request).done


def test_an_interval_is_shown_and_not_agreed_on_before_every_live_node_has_told(node, world):
    """I2: of two live nodes the second one makes it agreed."""
    first, second = node("a"), node("b")
    number = world.plan(Asked(kind=LIVENESS, value=10_000))
    (asked,) = settings(first)

    assert tell(first, number, 10.0)
    (spreads,) = settings(first)
    assert tell(second, number, 10.0)
    (stands,) = settings(first)

    assert (asked.id, asked.value, asked.agreed) == (number, 10_000, False)
    assert not spreads.agreed
    assert stands.agreed


def test_others_see_the_interval_that_a_holder_has_told(node, world):
    """O4: it is the one that the holder is judged by from then on."""
    holder, other = node("a"), node("b")
    holder.win()
    number = world.plan(Asked(kind=LIVENESS, value=10_000))

    before = other.look().holder
    tell(holder, number, 10.0)
    after = other.look().holder

    assert before is not None
    assert after is not None
    assert (before.liveness_s, after.liveness_s) == (6.0, 10.0)


def test_a_heartbeat_never_shows_a_new_beat_with_an_old_interval(node, world):
    """O6: the interval of a holder is checked with its session."""
    holder, other = node("a"), node("b")
    holder.win()
    number = world.plan(Asked(kind=LIVENESS, value=10_000))
    other.beat()
    other.beat()
    other.heard(0.0)
    tell(holder, number, 10.0)

    answer = other.ask(Beat(session=other.session))

    assert answer.view.holder is not None
    assert answer.view.holder.liveness_s == 10.0


def test_who_makes_it_agreed_notifies_the_group(node, world):
    first, second = node("a"), node("b")
    number = world.plan(Asked(kind=LIVENESS, value=10_000))
    tell(first, number, 10.0)
    second.heard()

    tell(second, number, 10.0)

    assert first.heard()


def test_an_interval_that_was_asked_for_before_is_not_told_any_more(node, world):
    """I3: a late request of a node does not undo what it told since."""
    only, other = node("a"), node("b")
    first = world.plan(Asked(kind=LIVENESS, value=10_000))
    tell(only, first, 10.0)
    tell(other, first, 10.0)
    second = world.plan(Asked(kind=LIVENESS, value=8_000))

    assert not tell(only, first, 10.0)
    assert tell(only, second, 8.0)


def test_a_join_that_comes_late_does_not_undo_what_was_told(node, world):
    """I3: the same session, once more."""
    only, other = node("a"), node("b")
    only.win()
    number = world.plan(Asked(kind=LIVENESS, value=10_000))
    tell(only, number, 10.0)

    assert only.ask(Join(session=only.session, previous=None)).done
    holder = other.look().holder
    assert holder is not None
    assert holder.liveness_s == 10.0


def test_an_interval_that_is_agreed_on_ends_the_one_before(node, world):
    only = node("a")
    first = world.plan(Asked(kind=LIVENESS, value=10_000))
    tell(only, first, 10.0)
    second = world.plan(Asked(kind=LIVENESS, value=8_000))
    both = [one.id for one in settings(only)]
    tell(only, second, 8.0)

    assert both == [first, second]
    assert [(one.id, one.agreed) for one in settings(only)] == [(second, True)]
    assert [row[2] for row in world.planned()] == ["done", None]


def test_a_node_that_is_dead_is_not_waited_for(node, world):
    """I2: live is what was not silent for the longer of both intervals."""
    only, _ = node("a"), node("b")
    number = world.plan(Asked(kind=LIVENESS, value=10_000))
    tell(only, number, 10.0)
    world.pass_time(9.0)
    only.beat()
    tell(only, number, 10.0)
    (waits,) = settings(only)
    world.pass_time(2.0)
    only.beat()
    tell(only, number, 10.0)
    (stands,) = settings(only)

    assert not waits.agreed
    assert stands.agreed


def test_in_a_group_without_live_nodes_an_interval_stands_at_once(node, world):
    only = node("a")
    only.leave()
    number = world.plan(Asked(kind=LIVENESS, value=10_000))
    again = node("b")

    assert [(one.id, one.agreed) for one in settings(again)] == [(number, True)]


def test_two_intervals_at_once_are_refused(node, world):
    node("a")
    world.plan(Asked(kind=LIVENESS, value=10_000))

    assert world.plan(Asked(kind=LIVENESS, value=12_000)) is None


def test_an_interval_that_a_live_node_cannot_have_is_refused(node, world):
    """T1: three heartbeats, and two within the lease; every node here beats once a second."""
    node("a")

    assert world.plan(Asked(kind=LIVENESS, value=2_600)) is None
    assert world.plan(Asked(kind=LIVENESS, value=3_100)) is not None


def test_a_session_that_is_over_tells_nothing(node, world):
    only = node("a")
    number = world.plan(Asked(kind=LIVENESS, value=10_000))
    only.leave()

    assert not tell(only, number, 10.0)

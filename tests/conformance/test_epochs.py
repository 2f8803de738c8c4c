"""Nothing is taken on an identity that is not settled."""

from __future__ import annotations

from coordinator.protocol.requests import Settle


def test_first_timeline_of_a_new_database_is_settled_from_the_start(connected):
    """E3: nothing else can ever have been granted."""

    view = connected("a").look()

    assert view.identity.timeline == 1
    assert view.settled
    assert view.longest_liveness_s == 0.0


def test_identity_of_a_restored_database_is_not_settled(world, connected):
    """E3: a database that knows another identity was copied."""

    world.had_another_identity()

    assert not connected("a").look().settled


def test_unsettled_identity_refuses_every_taking(world, node):
    """E2: free tokens included."""

    holder, taker = node("h"), node("a")
    term = holder.win()
    world.unsettle()

    silent = taker.take(taker.look())
    holder.release(term)
    free = taker.take(taker.look())

    assert not silent.done
    assert not free.done


def test_unsettled_identity_lets_the_holder_renew(world, node):
    """E2: a holder whose trust never ran out goes on."""

    holder = node("h")
    holder.win()
    world.unsettle()
    holder.reconnect(world)

    answer = holder.beat()

    assert answer.done
    assert not answer.view.settled
    assert answer.view.token.session == holder.session


def test_beats_notice_that_the_identity_was_settled(world, node):
    alone, other = node("a"), node("b")
    world.unsettle()
    alone.reconnect(world)
    identity = alone.beat().view.identity
    other.ask(Settle(system_identifier=identity.system_identifier, timeline=identity.timeline))

    views = [alone.beat().view for _ in range(2)]

    assert [view.settled for view in views] == [True, True]
    assert [view.longest_liveness_s for view in views] == [0.0, 0.0]


def test_unsettled_view_names_the_longest_interval_of_any_row(world, node):
    first = node("a", liveness_s=6.0)
    node("b", liveness_s=45.0).leave()
    node("c", group="elsewhere", liveness_s=60.0)
    world.unsettle()

    assert first.look().longest_liveness_s == 60.0


def test_settled_identity_may_be_taken_on(world, node):
    alone = node("a")
    world.unsettle()
    identity = alone.look().identity

    answer = alone.ask(
        Settle(system_identifier=identity.system_identifier, timeline=identity.timeline)
    )

    assert answer.done
    assert answer.view.settled
    assert alone.win() == 1


def test_settling_twice_is_done(world, node):
    first, second = node("a"), node("b")
    world.unsettle()
    identity = first.look().identity
    request = Settle(system_identifier=identity.system_identifier, timeline=identity.timeline)

    assert first.ask(request).done
    assert second.ask(request).done


def test_an_identity_that_is_not_the_current_one_is_not_settled(world, node):
    alone = node("a")
    world.unsettle()
    identity = alone.look().identity

    other_timeline = alone.ask(
        Settle(system_identifier=identity.system_identifier, timeline=identity.timeline + 1)
    )
    other_system = alone.ask(
        Settle(system_identifier=identity.system_identifier + 1, timeline=identity.timeline)
    )

    assert not other_timeline.done
    assert not other_system.done
    assert not alone.look().settled


def test_every_connection_sees_the_same_identity(connected):
    """E1: every answer carries the identity."""

    assert connected("a").look().identity == connected("b").look().identity

"""Nothing is taken on an identity that is not settled."""

from __future__ import annotations

import uuid
from dataclasses import replace

from coordinator.protocol.messages.requests import RaiseFloor, Settle


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
    other.ask(Settle(identity=identity, waited_s=6.0))

    views = [alone.beat().view for _ in range(2)]

    assert [view.settled for view in views] == [True, True]
    assert [view.longest_liveness_s for view in views] == [0.0, 0.0]


def test_unsettled_view_names_the_longest_interval_of_the_group(world, node):
    """E3: of its sessions, those included that have just ended; not of other groups."""

    first = node("a", liveness_s=6.0)
    node("b", liveness_s=45.0).leave()
    node("c", group="elsewhere", liveness_s=60.0)
    world.unsettle()

    assert first.look().longest_liveness_s == 45.0


def test_interval_of_a_session_of_long_ago_does_not_count(world, node):
    node("b", liveness_s=45.0).leave()
    world.pass_time(3600.0)
    first = node("a", liveness_s=6.0)
    world.unsettle()

    assert first.look().longest_liveness_s == 6.0


def test_settled_identity_may_be_taken_on(world, node):
    alone = node("a")
    world.unsettle()
    identity = alone.look().identity

    answer = alone.ask(Settle(identity=identity, waited_s=6.0))

    assert answer.done
    assert answer.view.settled
    assert answer.view.waited_s >= 6.0


def test_terms_after_a_wait_come_from_the_clock(world, node):
    """N1: nobody knows the terms of what was lost."""

    alone = node("a")
    world.unsettle()
    alone.ask(Settle(identity=alone.look().identity, waited_s=6.0))

    assert alone.win() > 1_600_000_000_000
    # Plain counting again, or the clock's next millisecond.
    first = alone.look().token.term
    alone.release(first)
    assert alone.win() > first


def test_terms_come_from_the_clock_once_the_server_is_copied(world, node):
    """N1: of what is promoted by mistake the first branch may never hear."""

    alone = node("a")
    first = alone.win()
    assert not alone.look().copied
    with world.copied():
        copied = alone.look().copied
        told = alone.ask(RaiseFloor(term=first, by_clock=True))
    alone.release(first)

    assert (first, copied, told.done, told.view.copied) == (1, True, True, False)
    assert alone.win() > 1_600_000_000_000


def test_once_a_term_was_the_clocks_all_later_ones_are(world, node):
    """N1: on the first branch, too, of which nobody says any more that it was copied."""
    alone = node("a")
    alone.ask(RaiseFloor(term=1_600_000_000_000))

    assert alone.win() > 1_690_000_000_000


def test_term_that_is_taken_while_the_server_is_copied_is_the_clocks(world, node):
    """N1: also before any node has said so."""

    with world.copied():
        term = node("a").win()

    assert term > 1_600_000_000_000


def test_restart_in_place_is_settled_without_a_wait_and_keeps_counting(world, node):
    """E3: the node finds everything that was acknowledged to it."""

    alone = node("a")
    alone.release(alone.win())
    world.unsettle()

    answer = alone.ask(Settle(identity=alone.look().identity, waited_s=0.0, continues=True))

    assert answer.done
    assert answer.view.settled
    assert alone.win() == 2


def test_an_identity_is_settled_for_one_group(world, node):
    """E3: the others have intervals of their own, and are told how long somebody waited."""

    alone, other = node("a"), node("b", group="elsewhere", liveness_s=45.0)
    world.unsettle()

    alone.ask(Settle(identity=alone.look().identity, waited_s=6.0))

    assert alone.look().settled
    assert not other.look().settled
    assert other.look().waited_s == 6.0
    assert other.look().longest_liveness_s == 45.0


def test_another_run_of_the_same_branch_is_not_settled(world, node):
    """E3: the row that says so may come from a backup."""

    alone = node("a")
    world.unsettle()
    alone.ask(Settle(identity=alone.look().identity, waited_s=6.0))
    before = alone.look().identity

    world.run_again()
    alone.reconnect(world)
    after = alone.look()

    assert not after.settled
    assert after.waited_s == 0.0
    assert (after.identity.timeline, after.identity.branch) == (before.timeline, before.branch)


def test_another_branch_of_the_same_number_has_another_name(world, node):
    """E1: its row was written on it; the first one's is lost with the first."""

    alone = node("a")
    before = alone.look().identity

    world.become_another_branch()
    alone.reconnect(world)
    after = alone.look()

    assert after.identity.timeline == before.timeline
    assert after.identity.branch != before.branch
    assert not after.settled


def test_nothing_is_taken_on_another_branch_than_the_one_that_was_seen(world, node):
    alone = node("a")
    seen = alone.look()
    other = replace(seen, identity=replace(seen.identity, branch=str(uuid.uuid4())))

    assert not alone.take(other).done
    assert alone.take(seen).done


def test_heartbeats_and_joins_tell_how_often_the_row_was_beaten(node):
    """E3: that is how a node finds what was acknowledged to it before."""

    alone = node("a")

    first, second = alone.beat().beat, alone.beat().beat
    again = alone.rejoin()

    assert second == first + 1
    assert again.beat == second + 1
    assert again.namesake is not None


def test_settling_twice_is_done(world, node):
    first, second = node("a"), node("b")
    world.unsettle()
    identity = first.look().identity
    request = Settle(identity=identity, waited_s=6.0)

    assert first.ask(request).done
    assert second.ask(request).done


def test_an_identity_that_is_not_the_current_one_is_not_settled(world, node):
    alone = node("a")
    world.unsettle()
    identity = alone.look().identity

    others = (
        replace(identity, timeline=identity.timeline + 1),
        replace(identity, system_identifier=identity.system_identifier + 1),
        replace(identity, started_at=identity.started_at + 1),
        replace(identity, branch=str(uuid.uuid4())),
    )
    answers = [alone.ask(Settle(identity=other, waited_s=6.0)) for other in others]

    assert [answer.done for answer in answers] == [False] * len(others)
    assert not alone.look().settled


def test_every_connection_sees_the_same_identity(connected):
    """E1: every answer carries the identity."""

    assert connected("a").look().identity == connected("b").look().identity

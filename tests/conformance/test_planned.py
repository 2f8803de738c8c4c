"""Planned changes (rules A), in every kind of database: asked for, seen, kept, and ended once."""

from __future__ import annotations

import pytest

from coordinator.protocol.messages.planned import EndPlanned, PlannedKind, PlannedOutcome
from coordinator.protocol.messages.requests import Beat, ReadRoster
from coordinator.store.admin.planned import Asked
from tests.conformance.team import read, take
from tests.conformance.worlds import Node

SWITCHOVER, RESIGN = PlannedKind.SWITCHOVER, PlannedKind.RESIGN
WORK, TAKEOVERS = PlannedKind.PAUSE_WORK, PlannedKind.PAUSE_TAKEOVERS
DRAIN, PRIORITY = PlannedKind.DRAIN, PlannedKind.PRIORITY
DONE, EXPIRED = PlannedOutcome.DONE, PlannedOutcome.EXPIRED


def kinds(node: Node) -> list[PlannedKind]:
    return [change.kind for change in node.look().planned.changes]


def test_nothing_is_planned_at_first(node):
    assert node("a").look().planned.changes == ()


def test_a_change_is_shown_with_who_why_and_when(node, world):
    alone, _ = node("a"), node("b")

    number = world.plan(Asked(kind=SWITCHOVER, node="b", in_s=60.0, for_s=30.0, reason="test"))

    (change,) = alone.look().planned.changes
    assert (change.id, change.kind, change.node) == (number, SWITCHOVER, "b")
    assert (change.who, change.reason) == ("ana", "test")
    assert 50 < change.wait_s <= 60
    assert 80 < change.left_s <= 90


def test_who_asks_notifies_the_group_and_who_ends_does(node, world):
    alone = node("a")
    alone.heard(0.0)

    world.plan(Asked(kind=WORK))
    asked = alone.heard()
    world.end(WORK)

    assert asked
    assert alone.heard()


def test_two_readings_of_a_change_are_told_apart(node, world):
    alone = node("a")
    world.plan(Asked(kind=WORK))
    first = alone.look().planned.read_us
    world.pass_time(1.0)

    assert alone.look().planned.read_us != first != 0


def test_a_heartbeat_that_looks_sees_a_change_at_once(node, world):
    """A6: a holder whose change is due reads everything, whatever O6 would allow."""
    holder = node("a")
    holder.win()
    holder.beat()
    holder.beat()
    world.plan(Asked(kind=WORK))

    answer = holder.ask(Beat(session=holder.session, looks=True))

    assert [change.kind for change in answer.view.planned.changes] == [WORK]


@pytest.mark.parametrize("pause", [WORK, TAKEOVERS])
def test_nobody_takes_a_token_in_a_pause(node, world, pause):
    """A2, A3: be it free or of a silent holder."""
    holder, other = node("a"), node("b")
    term = holder.win()
    world.plan(Asked(kind=pause))

    silent = other.take(other.look())
    holder.release(term)
    free = other.take(other.look())

    assert not silent.done
    assert not free.done


@pytest.mark.parametrize("pause", [WORK, TAKEOVERS])
def test_after_a_pause_the_token_is_taken(node, world, pause):
    alone = node("a")
    world.plan(Asked(kind=pause))
    world.end(pause)

    assert alone.take(alone.look()).done


def test_a_pause_whose_time_is_over_keeps_nobody_from_taking(node, world):
    """A4: whether or not somebody has recorded its end."""
    alone = node("a")
    world.plan(Asked(kind=TAKEOVERS, for_s=5.0))
    world.pass_time(6.0)

    assert alone.take(alone.look()).done


def test_an_end_by_time_is_recorded_once_and_never_too_early(node, world):
    """A4: the server's clock says whether it is over."""
    alone = node("a")
    number = world.plan(Asked(kind=WORK, for_s=5.0))
    expire = EndPlanned(id=number, outcome=EXPIRED, reason="over")

    early = alone.ask(expire)
    world.pass_time(6.0)
    first, second = alone.ask(expire), alone.ask(expire)

    assert [answer.done for answer in (early, first, second)] == [False, True, False]
    assert first.view.planned.changes == ()
    assert world.planned() == [(WORK, None, EXPIRED)]


def test_a_refusal_is_recorded_by_the_node(node, world):
    holder, _ = node("a"), node("b")
    holder.win()
    number = world.plan(Asked(kind=SWITCHOVER, node="b"))

    assert holder.ask(EndPlanned(id=number, outcome=PlannedOutcome.REFUSED, reason="no")).done

    assert world.planned() == [(SWITCHOVER, "b", PlannedOutcome.REFUSED)]


def test_the_take_of_the_target_ends_a_switchover(node, world):
    """A5: in one transaction."""
    holder, target = node("a"), node("b")
    term = holder.win()
    world.plan(Asked(kind=SWITCHOVER, node="b"))
    holder.release(term)

    answer = target.take(target.look())

    assert answer.done
    assert answer.view.planned.changes == ()
    assert world.planned() == [(SWITCHOVER, "b", DONE)]


def test_the_take_of_another_after_a_release_ends_it_as_expired(node, world):
    holder, _, other = node("a"), node("b"), node("c")
    term = holder.win()
    world.plan(Asked(kind=SWITCHOVER, node="b"))
    holder.release(term)

    assert other.take(other.look()).done

    assert world.planned() == [(SWITCHOVER, "b", EXPIRED)]


def test_a_switchover_outlives_the_death_of_the_holder(node, world):
    """A5: the new holder carries it out."""
    holder, _, other = node("a"), node("b"), node("c")
    holder.win()
    world.plan(Asked(kind=SWITCHOVER, node="b"))

    assert other.take(other.look()).done

    assert world.planned() == [(SWITCHOVER, "b", None)]


def test_a_switchover_to_the_best_is_not_done_by_the_same_node(node, world):
    holder, _ = node("a"), node("b")
    term = holder.win()
    world.plan(Asked(kind=SWITCHOVER))
    holder.release(term)

    assert holder.take(holder.look()).done

    assert world.planned() == [(SWITCHOVER, None, EXPIRED)]


def test_a_resignation_is_done_by_any_other(node, world):
    holder, other = node("a"), node("b")
    term = holder.win()
    world.plan(Asked(kind=RESIGN, node="a"))
    holder.release(term)

    assert other.take(other.look()).done

    assert world.planned() == [(RESIGN, "a", DONE)]


def test_a_switchover_that_waits_for_its_time_is_no_matter_before(node, world):
    holder, other = node("a"), node("b")
    term = holder.win()
    world.plan(Asked(kind=SWITCHOVER, node="b", in_s=60.0))
    holder.release(term)

    assert other.take(other.look()).done

    assert world.planned() == [(SWITCHOVER, "b", None)]


def test_a_draining_node_takes_nothing(node, world):
    """A7."""
    first, second = node("a"), node("b")
    assert world.plan(Asked(kind=DRAIN, node="a"))

    assert not first.take(first.look()).done
    assert second.take(second.look()).done


def test_the_last_node_that_could_work_is_not_drained(node, world):
    node("a", priority=0)
    node("b")
    node("c").leave()

    assert world.plan(Asked(kind=DRAIN, node="b")) is None


def test_of_two_nodes_one_may_be_drained(node, world):
    node("a")
    node("b")

    assert world.plan(Asked(kind=DRAIN, node="a"))
    assert world.plan(Asked(kind=DRAIN, node="b")) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Asked(kind=SWITCHOVER), Asked(kind=SWITCHOVER, node="b")),
        (Asked(kind=SWITCHOVER, in_s=60.0), Asked(kind=RESIGN, node="a")),
        (Asked(kind=WORK), Asked(kind=TAKEOVERS)),
        (Asked(kind=DRAIN, node="a"), Asked(kind=DRAIN, node="a")),
    ],
    ids=["switchovers", "a switchover and a resignation", "pauses", "drains"],
)
def test_of_two_at_once_the_second_is_refused(node, world, first, second):
    node("a")
    node("b")
    assert world.plan(first)

    assert world.plan(second) is None


@pytest.mark.parametrize("kind", [SWITCHOVER, RESIGN, DRAIN])
def test_a_node_that_nobody_knows_is_refused(node, connected, world, kind):
    node("a")
    connected("b")

    assert world.plan(Asked(kind=kind, node="b")) is None
    assert world.plan(Asked(kind=kind, node="nobody")) is None


def test_a_priority_that_was_set_counts_in_the_roster(node, world):
    """A8."""
    first, _ = node("a"), node("b", priority=3)
    world.plan(Asked(kind=PRIORITY, node="b", value=7))

    found = {one.node: one.priority for one in first.ask(ReadRoster()).roster}

    assert found == {"a": 1, "b": 7}


def test_a_priority_of_0_is_refused_for_the_last(node, world):
    node("a")

    assert world.plan(Asked(kind=PRIORITY, node="a", value=0)) is None


def test_a_task_group_has_no_switchover(team, world):
    team.members("a", "b")

    assert world.plan(Asked(kind=SWITCHOVER, node="b")) is None


def test_a_change_of_a_task_group_is_part_of_its_record(team, world):
    first, _ = team.members("a", "b")
    before = read(first).version

    world.plan(Asked(kind=DRAIN, node="b"))

    record = read(first)
    assert [change.node for change in record.planned.changes] == ["b"]
    assert record.version > before


def test_a_task_is_not_taken_on_a_version_before_the_pause(team, world):
    """A2, D2: the database refuses what was decided on an older record."""
    (first,) = team.members("a")
    team.with_tasks("t")
    record = read(first)
    world.plan(Asked(kind=WORK))

    answer = take(first, "t", version=record.version)

    assert not answer.taken


def test_after_a_drain_the_tasks_are_spread_anew(team, world):
    first, _ = team.members("a", "b")
    world.plan(Asked(kind=DRAIN, node="b"))

    world.end(DRAIN)

    record = read(first)
    assert record.spread_version == record.version

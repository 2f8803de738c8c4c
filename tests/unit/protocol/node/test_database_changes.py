"""The database changes under a node: restarts, promotions, copies, two primaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from coordinator.protocol.messages.requests import (
    Beat,
    Identity,
    Join,
    RaiseFloor,
    Settle,
    Take,
    View,
)
from coordinator.protocol.node.events import (
    ExtendTrust,
    KillProgram,
    PrimarySeen,
    ProgramEnded,
    Reconnect,
)
from coordinator.protocol.node.machine import wake_at
from tests.simulation.plans.script import FREE, TIMING, Script, asked, held, kinds, seen, view
from tests.unit.protocol.node.machines import holder, other, reports, standby, watch_until

# --- the database changes under the node --------------------------------------------------------


def test_holder_goes_on_and_renews_on_an_unsettled_identity() -> None:
    """E2"""
    script = holder()
    script.tick(1.0)
    promoted = replace(script.own(), settled=False, identity=view(timeline=2).identity)
    assert ExtendTrust in kinds(script.answer(1.1, promoted))


def test_free_token_on_an_unsettled_identity_is_not_taken_but_settled_after_the_wait() -> None:
    """E2, E3"""
    script = Script()
    unsettled = view(settled=False, timeline=2)
    assert asked(script.join(0.0, unsettled)) is None

    settled_at = watch_until(script, 0.0, unsettled)

    assert settled_at >= TIMING.liveness_s
    assert isinstance(script.pending, Settle)
    take = asked(script.answer(settled_at, view(timeline=2)))
    assert isinstance(take, Take)
    assert (take.next_term, take.branch) == (1, unsettled.identity.branch)


def at(timeline: int, started_at: int = 1, name: str = "") -> Identity:
    return replace(view(timeline=timeline, started_at=started_at).identity, branch=name)


def test_a_copy_of_the_server_is_noted_once_a_heartbeat_at_most() -> None:
    """N1, O7: terms come from the clock from then on, whatever nodes remember."""
    copied = other(copied=True)
    script = standby(copied)
    asked_for = []
    for now in range(5):
        script.tick(float(now))
        while script.node.pending is not None:
            asked_for.append((now, script.node.pending))
            script.answer(float(now), copied)
    wanted = [(now, request) for now, request in asked_for if isinstance(request, RaiseFloor)]
    assert [now for now, _ in wanted] == [0, 1, 2, 3, 4]
    assert all(request.by_clock for _, request in wanted)

    script.tick(5.0)
    while script.node.pending is not None:
        script.answer(5.0, other())
    script.tick(6.0)
    assert not isinstance(script.node.pending, RaiseFloor)


def test_answer_of_an_earlier_branch_is_dropped_and_said_once() -> None:
    """E4"""
    script = standby(other(identity=at(3)))
    script.tick(1.0)
    commands = script.answer(1.0, other(identity=at(2)))
    assert Reconnect in kinds(commands)
    assert reports(commands) == ["dead-branch"]
    assert script.node.view is None

    script.tick(2.0)
    again = script.answer(2.0, other(identity=at(2)))
    assert reports(again) == []


def test_dropped_answers_are_failures_and_no_idle_breaks() -> None:
    """E4: another host is tried soon, however often the wrong one answers."""
    script = standby(other(identity=at(3)))
    for now in (1.0, 2.5, 4.0, 5.5):
        script.tick(now)
        script.answer(now, other(identity=at(2)))
        assert script.node.idle_breaks == 0
        assert script.node.retry_at <= now + TIMING.heartbeat_s
    assert script.node.failures == 4


def test_group_outlives_a_promotion_by_mistake() -> None:
    """E4: when the later branch is gone for the longest lease, the earlier one is used again."""
    script = standby(other(identity=at(3)))
    now, dropped_at = 1.0, 0.0
    while script.node.view is None or script.node.view.identity.timeline == 3:
        now = max(now, wake_at(script.node, now))
        assert now < 60.0, "it never goes back"
        if asked(script.tick(now)) is not None:
            script.answer(now, other(identity=at(2)))
            dropped_at = dropped_at or now
    assert TIMING.liveness_s <= now - dropped_at <= TIMING.liveness_s + TIMING.heartbeat_s


def test_who_is_silent_where_answers_are_dropped_is_waited_for_meanwhile() -> None:
    """O1, E4: one wait suffices after a promotion by mistake, for the branch and for its holder."""
    script = standby(other(identity=at(3)))
    silent = other(identity=at(2))

    taken_at = _answered_until_a_take(script, 1.0, lambda _now: silent)

    assert TIMING.liveness_s <= taken_at - 1.0 <= TIMING.liveness_s + TIMING.heartbeat_s


def test_who_beats_where_answers_are_dropped_is_not_taken_for_silent() -> None:
    """O2: a beat that changed meanwhile begins the wait anew, as everywhere."""
    script = standby(other(identity=at(3)))
    last_beat_at = 1.0 + TIMING.liveness_s - 2 * TIMING.heartbeat_s

    def shown(now: float) -> View:
        return other(identity=at(2), beat=int(min(now, last_beat_at) * 1000))

    taken_at = _answered_until_a_take(script, 1.0, shown)

    assert taken_at >= last_beat_at + TIMING.liveness_s


def _answered_until_a_take(script: Script, now: float, shown: Callable[[float], View]) -> float:
    """Answer everything from a moment on, until the node asks for the token; return when."""
    script.tick(now)
    while not isinstance(script.node.pending, Take):
        if script.node.pending is not None:
            script.answer(now, shown(now))
            continue
        now = wake_at(script.node, now)
        assert now < 60.0, "it never takes"
        script.tick(now)
    return now


def test_earlier_session_of_the_same_process_is_no_namesake() -> None:
    """L4: another branch of the database may know one that was long followed by others."""
    script = holder()
    first = script.session
    for end_at in (20.0, 40.0):
        script.tick(end_at)
        if script.node.run is not None:
            script.take_in(ProgramEnded(end_at, script.node.run.number, -9, "trust"))
        script.answer(end_at, view(held("other-session"), seen("other-session")))
    script.tick(60.0)
    assert isinstance(script.pending, Join)
    assert script.pending.previous not in (None, first)

    again = asked(script.answer(60.1, view(), done=False, namesake=seen(first, 9)))

    assert isinstance(again, Join)
    assert again.previous == first


def test_planned_switchover_that_was_seen_first_is_no_second_primary() -> None:
    """E4: the own primary does not answer any more, so the holder goes on."""
    script = holder()
    asked_it = asked(script.take_in(PrimarySeen(0.5, at(2, 2))))
    assert isinstance(asked_it, Beat)

    failed = script.fail(0.6)
    script.tick(0.7)
    back = script.answer(0.7, replace(script.own(), settled=False, identity=at(2, 2)))

    assert KillProgram not in kinds(failed)
    assert ExtendTrust in kinds(back)


@pytest.mark.parametrize("seen_there", [at(2, 9), at(1, 9)], ids=["later", "twin"])
def test_primary_that_answers_beside_a_later_one_is_left(seen_there: Identity) -> None:
    """E4: of two with the same number, that counts which was started later."""
    script = holder()
    script.take_in(PrimarySeen(0.5, seen_there))

    commands = script.answer(0.6, script.own())

    assert {KillProgram, Reconnect} <= kinds(commands)
    assert "two-primaries" in reports(commands)
    script.take_in(ProgramEnded(0.7, 1, -9, "killed"))
    assert script.node.session is None
    script.tick(0.8)
    assert reports(script.answer(0.8, view())) == []
    assert script.node.view is None, "it stays away"


def test_answer_that_was_asked_for_before_the_sight_proves_nothing() -> None:
    script = holder()
    script.tick(1.0)
    script.take_in(PrimarySeen(1.05, at(2, 2)))

    commands = script.answer(1.1, script.own())

    assert KillProgram not in kinds(commands)
    script.tick(wake_at(script.node, 1.1))
    assert KillProgram in kinds(script.answer(2.2, script.own()))


def _told_of(script: Script, beside: Identity, moments: Sequence[float]) -> list[list[str]]:
    """Let the node see a server that takes writes at some moments; return what it reported then."""
    told = []
    for now in moments:
        script.tick(now)
        if script.node.pending is not None:
            script.answer(now, replace(script.own(), identity=at(2, 5)))
        told.append(reports(script.take_in(PrimarySeen(now, beside))))
    return told


def _on_the_later_one() -> Script:
    script = holder()
    script.tick(1.0)
    script.answer(1.0, replace(script.own(), identity=at(2, 5)))
    return script


@pytest.mark.parametrize("beside", [at(1), at(2, 4)], ids=["earlier", "twin"])
def test_earlier_primary_beside_the_own_one_is_told_of_once(beside: Identity) -> None:
    """E4: two primaries are worth a line, though this node is on the one that counts."""
    script = _on_the_later_one()

    told = _told_of(script, beside, [2.0, 4.0, 6.0, 8.1, 10.0, 12.0])

    assert told == [[], [], [], ["second-primary"], [], []]
    assert script.node.run is not None, "it is no reason to stop"
    assert not script.node.run.over


def test_earlier_primary_that_was_seen_around_a_switchover_is_not_told_of() -> None:
    """E4: a look that was under way before, the own server, and a server that came back later."""
    script = _on_the_later_one()

    assert _told_of(script, at(1), [2.0, 4.0]) == [[], []]
    assert _told_of(script, at(2, 5), [6.0, 8.0, 10.0, 12.0]) == [[]] * 4
    assert _told_of(script, at(1), [14.0, 16.0]) == [[], []]


def test_earlier_primary_that_is_used_again_is_not_called_a_second_one() -> None:
    """E4: while its answers are dropped, that is what is told."""
    script = standby(other(identity=at(2, 5)))
    told = []
    for now in range(1, 20):
        script.tick(float(now))
        while script.node.pending is not None:
            told += reports(script.answer(float(now), other(identity=at(1), beat=now)))
        told += reports(script.take_in(PrimarySeen(float(now), at(1))))
    assert script.node.view is not None, "it is used again"
    assert "dead-branch" in told
    assert "second-primary" not in told


def test_earlier_primary_that_is_seen_somewhere_changes_nothing() -> None:
    script = holder()
    commands = script.take_in(PrimarySeen(0.5, at(1, 0)))
    assert KillProgram not in kinds(commands)
    assert asked(commands) is None


def test_holder_whose_trust_ended_settles_a_restart_in_place_at_once() -> None:
    """E3: its own row has all the heartbeats that were acknowledged to it."""
    script = holder()
    script.tick(1.0)
    script.answer(1.0, replace(script.own(), identity=at(1, 1, "one")), beat=5)
    lost = script.session
    script.tick(20.0)
    script.take_in(ProgramEnded(20.1, 1, -9, "trust"))
    assert isinstance(script.pending, Join)
    free = view(replace(held(lost, node="n0"), session=None), settled=False)
    free = replace(free, identity=at(1, 2, "one"))

    settle = asked(script.answer(20.2, free, beat=6, namesake=seen(lost, 5)))

    assert settle == Settle(identity=free.identity, waited_s=0.0, continues=True)


def test_an_end_that_is_heard_of_late_is_told_as_of_when_it_was() -> None:
    script = holder()
    script.tick(20.0)
    script.take_in(ProgramEnded(20.1, 1, -9, "trust", at=3.1))

    assert isinstance(script.pending, Join)
    assert script.pending.ended_s == pytest.approx(17.0)


def test_rollback_to_the_same_timeline_is_waited_out() -> None:
    """E3: heartbeats are missing that were acknowledged."""
    script = holder()
    script.tick(1.0)
    script.answer(1.0, replace(script.own(), identity=at(1, 1, "one")), beat=5)
    lost = script.session
    script.tick(20.0)
    script.take_in(ProgramEnded(20.1, 1, -9, "trust"))
    back = replace(view(replace(FREE, term_floor=1), settled=False), identity=at(1, 2, "one"))

    commands = script.answer(20.2, back, beat=5, namesake=seen(lost, 4))

    assert not isinstance(asked(commands), Settle)
    assert "unsettled" in reports(commands)
    assert watch_until(script, 20.2, back) >= 20.2 + TIMING.liveness_s
    assert isinstance(script.pending, Settle)
    assert not script.pending.continues

"""One node's life, step by step: what it asks, starts, extends, stops and gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from coordinator.protocol.messages.requests import (
    Beat,
    EndNamesake,
    Identity,
    Join,
    Leave,
    RaiseFloor,
    ReadRoster,
    Release,
    Settle,
    Take,
    View,
)
from coordinator.protocol.node.events import (
    Command,
    ExtendTrust,
    Finish,
    KillProgram,
    LogLine,
    Notified,
    PrimarySeen,
    ProgramEnded,
    ProgramRefused,
    ProgramStopping,
    Reconnect,
    ResignAsked,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import Node, OnExit, Policy, active
from coordinator.protocol.rules.restarts import QUICK_ENDS_MAX
from tests.simulation.plans.script import FREE, TIMING, Script, asked, held, kinds, seen, view

LEASE_S = TIMING.lease_s


def find(commands: tuple[Command, ...], kind: type) -> Command:
    return next(command for command in commands if isinstance(command, kind))


def other(beat: int = 7, term: int = 4, **changes: object) -> View:
    """Return a view in which another node holds the token."""
    shown = view(held("other-session", term=term), seen("other-session", beat, age_s=5.0))
    return replace(shown, **changes)  # type: ignore[arg-type]


def standby(shown: View | None = None, policy: Policy | None = None) -> Script:
    script = Script(policy)
    script.join(0.0, shown or other())
    return script


def holder(policy: Policy | None = None) -> Script:
    script = Script(policy)
    script.hold(0.0)
    assert script.node.run is not None
    return script


def policy(**changes: object) -> Policy:
    return replace(Policy(node="n0", group="G", seed="s"), **changes)  # type: ignore[arg-type]


def watch_until(script: Script, now: float, shown: View) -> float:
    """Let the node's own reads go on until it asks for something else; returns that moment."""
    while now < 60.0:
        now = max(now, wake_at(script.node, now))
        request = asked(script.tick(now))
        if request is not None and not isinstance(request, Beat):
            return now
        if request is not None:
            next_request = asked(script.answer(now, shown))
            if next_request is not None and not isinstance(next_request, Beat):
                return now
    raise AssertionError("it never did")


# --- joining and taking -------------------------------------------------------------------------


def test_first_node_joins_takes_and_starts() -> None:
    script = Script()
    assert isinstance(asked(script.tick(0.0)), Join)
    take = asked(script.answer(0.01, view()))
    assert isinstance(take, Take)
    assert (take.next_term, take.seen_beat, take.how) == (1, None, "first")

    token = held(script.session, node="n0", term=1)
    commands = script.answer(0.02, view(token, seen(script.session)), term=1)

    start = find(commands, StartProgram)
    assert start == StartProgram(1, 1, script.node.trusted_until)
    assert active(script.node, 0.02)


def test_trust_of_a_take_runs_from_its_sending() -> None:
    """T2"""
    script = Script()
    script.join(0.0)
    token = held(script.session, node="n0", term=1)

    script.answer(0.9, view(token, seen(script.session)), term=1)

    assert script.node.trusted_until == pytest.approx(LEASE_S)


def test_taker_whose_answer_comes_too_late_beats_first() -> None:
    """T5, S1: after two missed renewals nothing starts, the one that was just taken either."""
    script = Script()
    script.join(0.0)
    token = held(script.session, node="n0", term=1)

    commands = script.answer(2.1, view(token, seen(script.session)), term=1)

    assert StartProgram not in kinds(commands)
    assert isinstance(asked(commands), Beat)
    assert StartProgram in kinds(script.answer(2.2, script.own()))


def test_lost_answer_to_a_join_asks_for_the_same_session() -> None:
    script = Script()
    first = asked(script.tick(0.0))
    script.fail(1.0)
    assert asked(script.tick(1.1)) == first


def test_unknown_take_is_read_again_and_then_believed() -> None:
    """E5"""
    script = Script()
    script.join(0.0)
    commands = script.fail(1.0)
    assert StartProgram not in kinds(commands)
    assert isinstance(asked(script.tick(1.1)), Beat)
    assert StartProgram in kinds(script.answer(1.2, script.own()))


def test_refused_take_looks_again_before_it_tries_again() -> None:
    script = Script()
    script.join(0.0)
    commands = script.answer(0.01, other(), done=False)
    assert asked(commands) is None
    assert isinstance(asked(script.tick(0.01 + TIMING.heartbeat_s / 4)), Beat)


def test_standby_takes_after_the_holders_interval_of_silence() -> None:
    """O4: measured from the arrival of the answer that first showed the last beat."""
    script = standby()
    took_at = watch_until(script, 0.0, other())
    assert took_at == pytest.approx(TIMING.liveness_s, abs=1e-6)
    assert isinstance(script.pending, Take)
    assert (script.pending.seen_beat, script.pending.next_term) == (7, 5)


def test_a_beat_of_the_holder_starts_the_wait_again() -> None:
    script = standby()
    script.tick(5.0)
    script.answer(5.0, other(beat=8))
    assert not isinstance(asked(script.tick(6.5)), Take)


def test_node_that_slept_through_the_end_of_the_wait_looks_first() -> None:
    """O3"""
    script = standby()
    commands = script.tick(4.5)
    script.answer(4.5, other())
    commands = script.tick(8.6)
    assert not isinstance(asked(commands), Take)


def test_second_in_line_waits_for_the_first() -> None:
    """R4"""
    script = standby()
    script.fast_forward(place=2)
    assert watch_until(script, 0.0, other()) == pytest.approx(TIMING.liveness_s + 0.02)


def test_priority_zero_never_takes() -> None:
    script = Script(policy(priority=0))
    assert asked(script.join(0.0)) is None


def test_released_token_is_taken_after_the_push() -> None:
    """Beside polling: the push only moves the next look."""
    script = standby()
    script.tick(0.5)
    assert isinstance(asked(script.take_in(Notified(0.6))), Beat)
    released = view(replace(held("x", term=4), session=None))
    take = asked(script.answer(0.61, released))
    assert isinstance(take, Take)
    assert (take.how, take.next_term) == ("release", 5)


def test_roster_is_read_when_the_group_changed_and_not_too_often() -> None:
    script = standby()
    now = watch_until(script, 0.0, other(group_version=3))
    assert isinstance(script.pending, ReadRoster)
    script.answer(now, other(group_version=3))
    assert not script.node.pending

    changed = other(group_version=4)
    read_at = watch_until(script, now, changed)
    assert isinstance(script.pending, ReadRoster)
    assert read_at >= now + TIMING.heartbeat_s


# --- going on and losing ------------------------------------------------------------------------


def test_renewal_extends_trust_from_its_sending() -> None:
    script = holder()
    script.tick(1.0)
    commands = script.answer(1.5, script.own())
    assert find(commands, ExtendTrust) == ExtendTrust(1, 1.0 + LEASE_S)


def test_failed_renewal_changes_nothing_and_is_tried_again_soon() -> None:
    """T2, E5"""
    script = holder()
    before = script.node.trusted_until
    script.tick(1.0)
    commands = script.fail(1.2)
    assert not kinds(commands) & {ExtendTrust, KillProgram, StopProgram}
    assert script.node.trusted_until == before
    assert isinstance(asked(script.tick(1.25)), Beat)


def test_session_that_was_ended_kills_at_once() -> None:
    """L2"""
    script = holder()
    script.tick(1.0)
    commands = script.answer(1.1, other(), done=False)
    assert KillProgram in kinds(commands)
    assert script.node.session is None
    assert asked(commands) is None, "no join while the program may live (L3)"

    commands = script.take_in(ProgramEnded(1.2, 1, -9, "killed"))
    assert isinstance(asked(commands), Join)


def test_token_under_another_term_is_lost() -> None:
    """L2"""
    script = holder()
    script.tick(1.0)
    assert KillProgram in kinds(script.answer(1.1, script.own(term=2)))


def test_trust_that_runs_out_kills_and_the_session_is_over() -> None:
    """T3"""
    script = holder()
    old = script.session
    commands = script.tick(LEASE_S)
    assert KillProgram in kinds(commands)
    commands = script.take_in(ProgramEnded(LEASE_S + 0.1, 1, -9, "trust"))
    join = asked(commands)
    assert isinstance(join, Join)
    assert join.previous == old
    assert join.session != old


def test_suspended_holder_wakes_up_expired() -> None:
    """T6: whatever event comes first."""
    script = holder()
    script.tick(1.0)
    assert KillProgram in kinds(script.answer(3600.0, script.own()))
    assert not active(script.node, 3600.0)


def test_program_that_the_guardian_stops_is_not_extended_any_more() -> None:
    script = holder()
    script.take_in(ProgramStopping(0.5, 1))
    script.tick(1.0)
    assert ExtendTrust not in kinds(script.answer(1.1, script.own()))


def test_answer_to_an_earlier_session_is_dropped() -> None:
    script = holder()
    script.tick(4.5)
    old = script.session
    script.fast_forward(session="new", trusted_until=100.0, run=None)
    commands = script.answer(4.6, replace(script.own(), token=held(old)))
    assert script.node.trusted_until == 100.0
    assert StartProgram not in kinds(commands)


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
    """N1, O7: terms come from the clock from then on, whoever remembers what."""
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


def reports(commands: tuple[Command, ...]) -> list[str]:
    """Name what is said of the database's branches."""
    words = {"dead-branch", "two-primaries", "second-primary", "unsettled", "settled"}
    return [c.event for c in commands if isinstance(c, LogLine) and c.event in words]


# --- the end of the program ---------------------------------------------------------------------


def test_program_that_ends_is_started_again_under_the_same_term() -> None:
    script = holder()
    script.take_in(ProgramEnded(0.5, 1, 1, "itself"))
    again_at = wake_at(script.node, 0.5)
    assert again_at == pytest.approx(0.6)
    assert find(script.tick(again_at), StartProgram) == StartProgram(2, 1, LEASE_S)


def test_program_that_ends_quickly_again_and_again_releases() -> None:
    script = holder()
    now = 0.0
    for _ in range(QUICK_ENDS_MAX):
        run = script.node.run
        assert run is not None
        told = reports(script.take_in(ProgramEnded(now + 0.1, run.number, 1, "itself")))
        if isinstance(script.node.pending, Release):
            assert "crash-loop" in told
            break
        assert "crash-loop" not in told
        now = max(now + 1.0, script.node.restarts.start_at)
        script.fast_forward(trusted_until=now + LEASE_S, pending=None)
        script.tick(now)
    assert isinstance(script.pending, Release)


def test_on_exit_release_gives_the_token_to_others() -> None:
    script = holder(policy(on_exit=OnExit.RELEASE))
    commands = script.take_in(ProgramEnded(0.5, 1, 1, "itself"))
    assert asked(commands) == Release(session=script.session, term=1, reason="given up")
    released = view(replace(held("x", term=1), session=None))
    assert asked(script.answer(0.6, released)) is None, "others first"


@pytest.mark.parametrize(("status", "code"), [(0, 0), (3, 3), (-9, 137)])
def test_on_exit_stop_ends_the_node_with_the_programs_code(status: int, code: int) -> None:
    script = holder(policy(on_exit=OnExit.STOP))
    session = script.session
    commands = script.take_in(ProgramEnded(0.5, 1, status, "itself"))
    assert asked(commands) == Leave(session=session, reason="the program ended", ended_term=1)
    assert find(script.answer(0.6, view()), Finish) == Finish(code, "")


def test_file_that_cannot_be_executed_ends_the_node() -> None:
    script = holder()
    commands = script.take_in(ProgramRefused(0.5, 1, "no such file", 127))
    assert isinstance(asked(commands), Leave)
    assert find(script.answer(0.6, view()), Finish) == Finish(127, "no such file")


def test_start_that_came_too_late_releases_and_stays() -> None:
    """S2: the guardian looked last, and refused."""
    script = holder()
    commands = script.take_in(ProgramRefused(0.5, 1, "trust is over", 0))
    assert isinstance(asked(commands), Release)


def test_a_token_that_is_given_back_late_tells_since_when_nothing_ran() -> None:
    """An outage may lie between the program's end and the first heartbeat that is answered."""
    script = holder()
    script.take_in(ResignAsked(0.4, "told to"))
    script.take_in(ProgramEnded(0.5, 1, 0, "stopped"))
    script.fail(1.5)

    released = asked(script.tick(wake_at(script.node, 1.5)))
    while not isinstance(released, Release):
        released = asked(script.answer(2.5, script.own()))
    assert released.ended_s == pytest.approx(2.0)


def test_a_node_that_leaves_late_tells_since_when_nothing_ran() -> None:
    script = holder()
    script.take_in(StopAsked(0.4, "SIGTERM"))
    script.take_in(ProgramEnded(0.5, 1, 0, "stopped"))
    script.fail(1.0)

    left = asked(script.tick(2.0))

    assert isinstance(left, Leave)
    assert (left.ended_term, left.ended_s) == (1, pytest.approx(1.5))


def test_a_program_that_cannot_be_started_now_is_not_tried_again_at_once() -> None:
    """G8: a machine without a process to spare takes no term after the other."""
    script = holder()
    script.take_in(ProgramRefused(0.5, 1, "its process cannot be made", 0))
    released = view(replace(held("x", term=1), session=None))
    assert asked(script.answer(0.6, released)) is None, "others first"


# --- leaving ------------------------------------------------------------------------------------


def test_stop_ends_the_program_before_the_session() -> None:
    """L1"""
    script = holder()
    session = script.session
    commands = script.take_in(StopAsked(0.5, "SIGTERM"))
    assert StopProgram in kinds(commands)
    assert asked(commands) is None
    commands = script.take_in(ProgramEnded(0.8, 1, 0, "stopped"))
    assert asked(commands) == Leave(session=session, reason="SIGTERM", ended_term=1)
    assert find(script.answer(0.9, view()), Finish) == Finish(0)
    assert script.tick(1.0) == ()


def test_leaving_does_not_wait_for_a_dead_database_for_ever() -> None:
    script = holder()
    script.take_in(StopAsked(0.5, "SIGTERM", 3))
    script.take_in(ProgramEnded(0.8, 1, 0, "stopped"))
    now = 0.8
    commands: tuple[Command, ...] = ()
    while not script.node.finished:
        if script.node.pending:
            now += 1.0
            commands = script.fail(now)
        else:
            now = wake_at(script.node, now)
            commands = script.tick(now)
        assert now < 5.0
    assert find(commands, Finish) == Finish(3)


def test_resigning_releases_after_the_program_and_lets_others_try() -> None:
    script = holder()
    assert StopProgram in kinds(script.take_in(ResignAsked(0.5, "asked")))
    commands = script.take_in(ProgramEnded(0.8, 1, 0, "stopped"))
    assert isinstance(asked(commands), Release)
    released = view(replace(held("x", term=1), session=None))
    assert asked(script.answer(0.9, released)) is None
    took_at = watch_until(script, 0.9, released)
    assert took_at == pytest.approx(0.5 + TIMING.liveness_s)


def test_run_once_ends_when_the_token_is_lost() -> None:
    script = holder(policy(once=True))
    script.tick(LEASE_S)
    commands = script.take_in(ProgramEnded(LEASE_S, 1, -9, "trust"))
    assert script.node.leaving is not None
    assert script.node.leaving.code == 76
    assert isinstance(asked(commands), Leave)


# --- namesakes and dead agents ------------------------------------------------------------------


def join_refused(script: Script, now: float, beat: int) -> None:
    script.answer(now, other(), done=False, namesake=seen("old", beat, age_s=1.0))


def test_silent_namesake_is_waited_out_and_ended() -> None:
    """L3"""
    script = Script()
    script.tick(0.0)
    join_refused(script, 0.0, 5)
    now = 0.0
    while not isinstance(script.node.pending, EndNamesake):
        now = wake_at(script.node, now)
        script.tick(now)
        if isinstance(script.pending, Join):
            join_refused(script, now, 5)
    assert now >= TIMING.liveness_s
    assert script.pending == EndNamesake(session="old", beat=5)


def test_live_namesake_ends_the_newcomer() -> None:
    """L4"""
    script = Script()
    now = 0.0
    for beat in range(5, 12):
        script.tick(now)
        if script.node.finished:
            break
        join_refused(script, now, beat)
        now = max(now + 1.0, min(wake_at(script.node, now), now + 2.0))
    assert script.node.leaving is not None
    assert script.node.leaving.code == 78
    assert "taskId" in script.node.leaving.trouble


def test_one_late_beat_of_a_dead_namesake_is_no_life() -> None:
    script = Script()
    script.tick(0.0)
    join_refused(script, 0.0, 5)
    script.tick(1.0)
    join_refused(script, 1.0, 6)
    assert script.node.leaving is None


def test_spare_ends_the_dead_agents_session_before_it_joins() -> None:
    script = Script()
    script.fast_forward(bury="dead")
    assert asked(script.tick(0.0)) == Leave(session="dead", reason="the node's agent died")
    join = asked(script.answer(0.1, view()))
    assert isinstance(join, Join)
    assert join.previous == "dead"


# --- waking -------------------------------------------------------------------------------------


def test_what_is_due_now_is_not_due_again() -> None:
    script = holder()
    for now in (0.0, 0.5, 1.0, 2.0, LEASE_S):
        script.tick(now)
        assert wake_at(script.node, now) > now


def test_holder_wakes_at_the_end_of_its_trust() -> None:
    script = holder()
    script.tick(1.0)
    assert wake_at(script.node, 1.0) == script.node.trusted_until


def test_finished_node_sleeps_for_ever() -> None:
    node = Node(policy=policy(), timing=TIMING, finished=True)
    assert wake_at(node, 0.0) == float("inf")


def test_a_lasting_failure_is_told_again_when_its_reason_changes_and_each_minute():
    """E4: where there are several hosts, their reasons take turns, and fill no log."""
    script = standby()
    refused, password = "connection refused", "password authentication failed"
    told = []
    for turn in range(150):
        now = 1000.0 + turn
        script.tick(now)
        why = refused if turn < 5 else (password, refused)[turn % 2]
        reports = (one for one in script.fail(now, why) if isinstance(one, LogLine))
        told += [(turn, dict(one.fields)["why"]) for one in reports if one.event == "database-lost"]

    assert told == [
        (0, refused),
        (6, password),
        (60, password),
        (61, refused),
        (120, password),
        (121, refused),
    ]

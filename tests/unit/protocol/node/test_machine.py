"""One node's life, step by step: what it asks, starts, extends, stops and gives back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.requests import (
    Beat,
    EndNamesake,
    Join,
    Leave,
    ReadRoster,
    Release,
    Take,
)
from coordinator.protocol.node.events import (
    Command,
    ExtendTrust,
    Finish,
    KillProgram,
    LogLine,
    Notified,
    ProgramEnded,
    ProgramStopping,
    ResignAsked,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import Node, active
from tests.simulation.plans.script import TIMING, Script, asked, held, kinds, seen, view
from tests.unit.protocol.node.machines import (
    LEASE_S,
    find,
    holder,
    other,
    policy,
    standby,
    watch_until,
)

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

"""G7 and G9: what agent and spare kill, and when they take the guardian for frozen."""

from __future__ import annotations

import math

import pytest

from coordinator.protocol.guardian.events import EVERY_RUN
from coordinator.protocol.node.state.guardian_watch import (
    ECHO_MAX_S,
    KILL_AGAIN_S,
    GuardianWatch,
    echo_max_s,
    ping_s,
)
from coordinator.protocol.node.state.run import INHERITED
from coordinator.protocol.node.state.spare_watch import AGAIN_S, UNNOTICED_MAX_S, SpareWatch
from coordinator.protocol.rules.backstops import BACKSTOP_S
from coordinator.protocol.rules.timing import Timing

TIMING = Timing(liveness_s=30.0, heartbeat_s=1.0, stop_timeout_s=5.0)
IDLE = GuardianWatch(timing=TIMING, ping_at=0.0)


def running(*numbers: int, until: float = 10.0) -> GuardianWatch:
    """Return the watch of an agent whose runs can be killed, at the moment 0."""
    watch = IDLE
    for number in numbers:
        watch = watch.after_start(number, until, 5.0, 0.0).after_handle(number)
    return watch


# --- echoes ---------------------------------------------------------------------------------------


def test_a_guardian_that_owes_an_echo_for_too_long_is_frozen() -> None:
    watch, due = running(1).tick(0.0, {})
    assert due.ping == 1

    awake, _ = watch.tick(ECHO_MAX_S, {})
    frozen, due = watch.tick(ECHO_MAX_S + 0.01, {})

    assert not awake.lost
    assert frozen.lost == "the guardian is frozen"
    assert (due.late, due.ping) == (frozenset(), 0), "whoever is alone ends everything itself"


def test_later_pings_do_not_lengthen_the_wait_for_the_first_echo() -> None:
    watch, now = running(1), 0.0
    while now <= ECHO_MAX_S:
        watch, _ = watch.tick(now, {})
        now += ping_s(TIMING)
    assert watch.pings > 1

    assert watch.tick(ECHO_MAX_S + 0.01, {})[0].lost


def test_an_echo_ends_the_wait_and_the_next_ping_begins_another() -> None:
    watch, _ = running(1).tick(0.0, {})
    watch, due = watch.after_echo().tick(ECHO_MAX_S + 0.01, {})

    assert (watch.lost, due.ping) == ("", 2)
    assert watch.unanswered_since == ECHO_MAX_S + 0.01


def test_a_short_lease_has_a_short_patience() -> None:
    short = Timing(liveness_s=3.0, heartbeat_s=0.6)
    assert echo_max_s(short) == pytest.approx(0.4 * short.lease_s)


def test_the_first_reason_of_a_loss_counts() -> None:
    assert IDLE.after_loss("the guardian died").after_loss("later").lost == "the guardian died"


# --- what is late ---------------------------------------------------------------------------------


def test_a_run_is_late_a_little_after_its_own_deadline() -> None:
    watch = running(1).after_start(2, 20.0, 5.0, 0.0).after_handle(2)

    assert watch.tick(10.0 + BACKSTOP_S - 0.01, {})[1].late == frozenset()
    assert watch.tick(10.0 + BACKSTOP_S, {})[1].late == {1}
    assert watch.tick(99.0, {})[1].late == {1, 2}


def test_what_nobody_can_kill_yet_is_not_late() -> None:
    watch = IDLE.after_start(1, 10.0, 5.0, 0.0)

    assert watch.tick(11.0, {})[1].late == frozenset()


def test_an_extension_moves_every_run_but_what_was_told_to_end() -> None:
    watch = running(1, 2).after_stopping(1).after_extension(EVERY_RUN, 30.0)

    assert watch.tick(10.0 + BACKSTOP_S, {})[1].late == {1}


def test_an_extension_never_shortens() -> None:
    watch = running(1).after_extension(1, 5.0).after_extension(7, 99.0)

    assert watch.tick(10.0, {})[1].late == frozenset()
    assert set(watch.runs) == {1}


def test_what_dead_agents_left_is_late_by_the_deadlines_that_the_guardian_shows() -> None:
    watch = IDLE.after_inheriting(0.0).after_extension(EVERY_RUN, 999.0)

    _, due = watch.tick(5.0 + BACKSTOP_S, {1001: 5.0, 1002: 50.0})

    assert due.left == {1001}
    assert watch.runs[INHERITED].trusted_until == TIMING.lease_s


def test_what_is_late_is_tried_again_soon() -> None:
    watch, due = running(1).tick(0.0, {})
    assert due.wake_at == pytest.approx(ping_s(TIMING))

    _, due = watch.after_echo().tick(10.0 + BACKSTOP_S, {})

    assert due.wake_at == pytest.approx(10.0 + BACKSTOP_S + KILL_AGAIN_S)


# --- the spare ------------------------------------------------------------------------------------


def test_the_spare_kills_what_it_knows_and_is_late() -> None:
    watch = SpareWatch().after_runs((1, 2)).after_start(3).after_end(2)
    shown = {1: 10.0, 2: 10.0, 3: 20.0, 4: 1.0}

    assert watch.wake_at(shown) == 10.0 + BACKSTOP_S
    assert watch.late(shown, 10.0 + BACKSTOP_S) == {1}


def test_what_the_spare_could_not_kill_it_tries_again_and_what_it_killed_it_leaves() -> None:
    shown = {1: 10.0, 2: 10.0}
    watch = SpareWatch(runs=frozenset(shown)).after_kill({1, 2}, {2}, 10.1)

    assert (watch.killed, watch.late(shown, 10.1)) == (1, {2})
    assert watch.wake_at(shown) == pytest.approx(10.1 + AGAIN_S)


def test_a_guardian_that_does_not_notice_a_kill_stands_still() -> None:
    watch = SpareWatch(runs=frozenset({1})).after_kill({1}, (), 10.0)
    due = 10.0 + UNNOTICED_MAX_S

    assert watch.wake_at({1: 9.0}) == due
    assert not watch.guardian_stands_still(due - 0.01)
    assert watch.guardian_stands_still(due)
    assert watch.after_message(12.0).wake_at({}) == 12.0 + UNNOTICED_MAX_S
    assert watch.after_ending_the_guardian().wake_at({}) == math.inf
    assert watch.after_end(1).wake_at({}) == math.inf

"""Planned changes in the machine of one node (rules A): what it stops, leaves alone, and asks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.planned import (
    EndPlanned,
    Planned,
    PlannedChange,
    PlannedKind,
    PlannedOutcome,
)
from coordinator.protocol.messages.requests import (
    Answer,
    Beat,
    Candidate,
    ReadRoster,
    Release,
    Take,
    View,
)
from coordinator.protocol.node.events import (
    Answered,
    Finish,
    Notified,
    ProgramEnded,
    ResignAsked,
    StartProgram,
    StopProgram,
)
from coordinator.protocol.node.machine import wake_at
from tests.simulation.plans.script import Script, asked, held, seen, view
from tests.unit.protocol.node.machines import find, holder, policy, standby

WORK, TAKEOVERS = PlannedKind.PAUSE_WORK, PlannedKind.PAUSE_TAKEOVERS
SWITCHOVER = PlannedKind.SWITCHOVER
READY = Candidate(node="other", priority=1, age_s=0.5)
ME = Candidate(node="n0", priority=1)
HEARTBEAT_S = 1.0
#: A token that its holder has released.
FREE = view(replace(held("x", term=4), session=None))


def planned(shown: View, kind: PlannedKind, *, read_us: int = 1, **of: object) -> View:
    """Return the view with one planned change."""
    change = PlannedChange(id=7, kind=kind, who="ana", reason="kernel", **of)  # type: ignore[arg-type]
    return replace(shown, planned=Planned(read_us=read_us, changes=(change,)))


def told(script: Script, now: float, shown: View) -> tuple:
    """Let a notification make the node look, and answer with the view."""
    commands = script.take_in(Notified(now))
    assert isinstance(asked(commands), Beat)
    return script.answer(now, shown, beat=9)


def answered_roster(script: Script, now: float, shown: View, *roster: Candidate) -> tuple:
    answer = Answer(done=True, view=shown, roster=roster)
    return script.take_in(Answered(now, script.pending, answer, script.sent_at))


# --- a pause of work ------------------------------------------------------------------------------


def test_a_pause_of_work_stops_the_program_and_releases_after_its_end():
    """A1, A2: never before nothing of it is left."""
    active = holder()

    stopping = told(active, 0.3, planned(active.own(), WORK))
    assert find(stopping, StopProgram).reason == "pause work by ana: kernel"
    assert asked(stopping) is None
    ended = active.take_in(ProgramEnded(0.5, 1, 0, why="stopped"))

    release = asked(ended)
    assert isinstance(release, Release)
    assert release.reason == "pause work by ana: kernel"


def test_nothing_is_started_in_a_pause_of_work():
    """A2: nor by a holder whose program has just ended by itself."""
    active = holder()
    active.take_in(ProgramEnded(0.2, 1, 0, why="itself"))

    commands = told(active, 0.3, planned(active.own(), WORK))

    assert not any(isinstance(command, StartProgram) for command in commands)
    assert isinstance(asked(commands), Release)


@pytest.mark.parametrize("kind", [WORK, TAKEOVERS])
def test_a_free_token_is_not_taken_in_a_pause(kind):
    """A2, A3: released ones included."""
    waiting = standby()

    commands = told(waiting, 0.3, planned(FREE, kind))

    assert asked(commands) is None


def test_a_silent_holder_is_not_followed_in_a_pause():
    """A3."""
    shown = planned(view(held("other-session", term=4), seen("other-session", 7)), TAKEOVERS)
    waiting = standby(shown)
    now = 0.0
    while now < 30.0:
        now = max(now, wake_at(waiting.node, now))
        request = asked(waiting.tick(now))
        assert not isinstance(request, Take)
        if request is not None:
            waiting.answer(now, shown, beat=9)


def test_the_holder_goes_on_in_a_pause_of_takeovers():
    """A3: and starts its program again under the token that it holds."""
    active = holder()
    paused = planned(active.own(), TAKEOVERS)
    assert not any(isinstance(c, StopProgram) for c in told(active, 0.3, paused))

    active.take_in(ProgramEnded(0.4, 1, 0, why="itself"))
    now = 0.4
    for _ in range(9):
        now = wake_at(active.node, now)
        commands = active.tick(now)
        if any(isinstance(command, StartProgram) for command in commands):
            return
        if asked(commands) is not None:
            active.answer(now, paused, beat=9)
    raise AssertionError("its program was not started again")


def test_after_a_pause_the_token_is_taken():
    waiting = standby()
    told(waiting, 0.3, planned(FREE, WORK))

    commands = told(waiting, 0.6, FREE)

    assert isinstance(asked(commands), Take)


def test_a_node_that_does_not_wait_leaves_a_paused_group():
    """A3, L5."""
    impatient = Script(policy(nonblock=True))

    commands = impatient.join(0.0, planned(FREE, TAKEOVERS))

    assert not any(isinstance(command, Finish) for command in commands)
    assert impatient.node.leaving is not None
    assert "paused" in impatient.node.leaving.trouble


def test_a_node_that_does_not_wait_leaves_where_it_is_drained():
    """A7, L5: the token may stay free for as long as the drain stands."""
    impatient = Script(policy(nonblock=True))

    impatient.join(0.0, planned(FREE, PlannedKind.DRAIN, node="n0"))

    assert impatient.node.leaving is not None
    assert "drain" in impatient.node.leaving.trouble


# --- times ----------------------------------------------------------------------------------------


def test_the_end_of_a_pause_is_recorded_when_its_time_is_over():
    """A4."""
    waiting = standby()
    paused = planned(FREE, WORK, left_s=0.4)
    told(waiting, 0.3, paused)

    request = asked(waiting.tick(0.7))

    assert isinstance(request, EndPlanned)
    assert (request.id, request.outcome) == (7, PlannedOutcome.EXPIRED)


def test_a_pause_stands_until_its_end_is_recorded_and_is_tried_again():
    """A4: the server's clock decides, and the node does not ask again and again (O7)."""
    waiting = standby()
    told(waiting, 0.3, planned(FREE, WORK, left_s=0.4))
    waiting.tick(0.7)

    refused = waiting.answer(0.71, planned(FREE, WORK, read_us=2, left_s=0.01), done=False)
    assert asked(refused) is None
    beat = wake_at(waiting.node, 0.71)
    assert not isinstance(asked(waiting.tick(beat)), Take)


def test_a_heartbeat_that_repeats_an_earlier_reading_moves_no_alarm():
    """A4, O6."""
    active = holder()
    shown = planned(active.own(), TAKEOVERS, left_s=5.0)
    told(active, 0.3, shown)
    now = 0.3
    while now < 9.0:
        now = wake_at(active.node, now)
        request = asked(active.tick(now))
        if isinstance(request, EndPlanned):
            break
        if request is not None:
            active.answer(now, shown, beat=9)

    assert now == pytest.approx(5.3)


def test_a_switchover_that_waits_is_looked_for_at_its_time():
    """A6: the heartbeat at that moment reads everything, and comes at once."""
    active = holder()
    told(active, 0.3, planned(active.own(), SWITCHOVER, node="other", wait_s=0.4))
    assert wake_at(active.node, 0.3) == pytest.approx(0.7)

    request = asked(active.tick(0.7))

    assert request == Beat(session=active.session, looks=True)


def test_nothing_is_given_up_before_the_server_says_that_it_is_due():
    """A6: the own clock is an alarm, and no more."""
    active = holder()
    told(active, 0.3, planned(active.own(), SWITCHOVER, node="other", wait_s=0.4))
    active.tick(0.7)

    commands = active.answer(
        0.71, planned(active.own(), SWITCHOVER, node="other", wait_s=0.01, read_us=2), beat=9
    )

    assert asked(commands) is None
    assert wake_at(active.node, 0.71) == pytest.approx(0.72)


# --- a switchover ---------------------------------------------------------------------------------


def due(script: Script, **of: object) -> View:
    return planned(script.own(), SWITCHOVER, **of)


def test_the_holder_reads_who_is_ready_and_gives_way():
    """A5, A1."""
    active = holder()
    shown = due(active, node="other")
    assert asked(told(active, 0.3, shown)) == ReadRoster()

    stopping = answered_roster(active, 0.31, shown, ME, READY)
    ended = active.take_in(ProgramEnded(0.4, 1, 0, why="stopped"))

    assert find(stopping, StopProgram).reason == "switchover to other by ana: kernel"
    assert isinstance(asked(ended), Release)


@pytest.mark.parametrize(
    ("target", "roster", "why"),
    [
        ("gone", (ME, READY), "gone has no live session"),
        ("n0", (ME, READY), "n0 holds the token already"),
        ("other", (ME, replace(READY, priority=0)), "other has priority 0"),
        ("other", (ME, replace(READY, age_s=3.0)), "other is behind"),
        (None, (ME,), "no standby is ready"),
        (None, (ME, replace(READY, priority=0)), "no standby is ready"),
    ],
)
def test_a_switchover_is_refused_with_what_is_in_the_way(target, roster, why):
    """A5: and the program runs on."""
    active = holder()
    shown = due(active, node=target)
    told(active, 0.3, shown)

    commands = answered_roster(active, 0.31, shown, *roster)

    request = asked(commands)
    assert isinstance(request, EndPlanned)
    assert request.outcome is PlannedOutcome.REFUSED
    assert why in request.reason
    assert active.node.run is not None
    assert not active.node.run.stopping


def test_a_switchover_to_a_draining_node_is_refused():
    active = holder()
    drained = PlannedChange(id=3, kind=PlannedKind.DRAIN, node="other")
    asked_for = PlannedChange(id=7, kind=SWITCHOVER, node="other")
    shown = replace(active.own(), planned=Planned(read_us=1, changes=(drained, asked_for)))
    told(active, 0.3, shown)

    request = asked(answered_roster(active, 0.31, shown, ME, READY))

    assert isinstance(request, EndPlanned)
    assert "other is draining" in request.reason


def test_a_resignation_of_another_node_is_refused():
    active = holder()
    shown = planned(active.own(), PlannedKind.RESIGN, node="other")
    told(active, 0.3, shown)

    request = asked(answered_roster(active, 0.31, shown, ME, READY))

    assert isinstance(request, EndPlanned)
    assert request.reason == "other does not hold the token; n0 does"


def test_standbys_that_were_read_long_ago_are_read_again():
    """A5: a switchover that was found ready waits for no later moment."""
    active = holder()
    shown = due(active, node="other")
    told(active, 0.3, shown)
    active.fail(0.31)
    now = wake_at(active.node, 0.31)
    active.tick(now)
    active.answer(now, shown, beat=9)

    assert active.pending == ReadRoster()


def test_the_target_takes_first():
    """A5: at once, whatever its place."""
    target = standby()
    target.fast_forward(place=5)

    commands = told(target, 0.3, planned(FREE, SWITCHOVER, node="n0"))

    assert isinstance(asked(commands), Take)


def test_others_leave_the_token_to_the_target_for_a_bound():
    """A5: then the ranking goes on as ever."""
    waiting = standby()
    shown = planned(FREE, SWITCHOVER, node="elsewhere")
    commands = told(waiting, 0.3, shown)
    assert asked(commands) is None
    now = 0.3
    while now < 5.0:
        now = wake_at(waiting.node, now)
        request = asked(waiting.tick(now))
        if isinstance(request, Take):
            break
        if request is not None:
            waiting.answer(now, shown, beat=9)

    assert now == pytest.approx(0.3 + 2 * HEARTBEAT_S)


def test_the_former_holder_comes_last():
    """A5."""
    active = holder()
    shown = due(active, node="other")
    told(active, 0.3, shown)
    answered_roster(active, 0.31, shown, ME, READY)
    active.take_in(ProgramEnded(0.4, 1, 0, why="stopped"))
    free = planned(view(replace(held("x", node="n0"), session=None)), SWITCHOVER, node="other")
    active.answer(0.41, free)
    now = 0.41
    while now < 9.0:
        now = wake_at(active.node, now)
        request = asked(active.tick(now))
        if isinstance(request, Take):
            break
        if request is not None:
            active.answer(now, free, beat=9)

    assert now == pytest.approx(0.41 + 4 * HEARTBEAT_S, abs=0.02)


# --- drain, priority, signal ----------------------------------------------------------------------


def test_a_drained_holder_gives_way_and_takes_nothing():
    """A7."""
    active = holder()
    commands = told(active, 0.3, planned(active.own(), PlannedKind.DRAIN, node="n0"))
    assert find(commands, StopProgram).reason == "drain of n0 by ana: kernel"
    active.take_in(ProgramEnded(0.4, 1, 0, why="stopped"))
    free = view(replace(held("x", node="n0"), session=None))

    answered = active.answer(0.41, planned(free, PlannedKind.DRAIN, node="n0", read_us=2))

    assert asked(answered) is None


def test_a_drain_of_another_node_is_no_matter():
    waiting = standby()

    commands = told(waiting, 0.3, planned(FREE, PlannedKind.DRAIN, node="other"))

    assert isinstance(asked(commands), Take)


@pytest.mark.parametrize(("own", "chosen", "takes"), [(0, 2, True), (3, 0, False)])
def test_a_priority_that_was_set_counts_in_the_place_of_the_files(own, chosen, takes):
    """A8."""
    waiting = standby(policy=policy(priority=own))

    commands = told(waiting, 0.3, planned(FREE, PlannedKind.PRIORITY, node="n0", value=chosen))

    assert isinstance(asked(commands), Take) is takes


def test_the_signal_goes_the_same_way():
    """A1: and the node leaves the token to others for an interval."""
    active = holder()
    commands = active.take_in(ResignAsked(0.3, "SIGUSR1"))
    assert find(commands, StopProgram).reason == "SIGUSR1"
    ended = active.take_in(ProgramEnded(0.4, 1, 0, why="stopped"))

    release = asked(ended)
    assert isinstance(release, Release)
    assert release.reason == "SIGUSR1"
    assert active.node.cool_until == pytest.approx(6.3)

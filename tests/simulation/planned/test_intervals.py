"""Intervals that are set in worlds where everything else goes wrong as well (rules I)."""

from __future__ import annotations

import pytest

from coordinator.protocol.messages.requests import Join
from tests.simulation.planned import administrators, interval_transcripts
from tests.simulation.planned.interval_transcripts import Told, log, setting
from tests.simulation.planned.planted_intervals import BIAS, PLANTED_INTERVALS, SIMULATED
from tests.simulation.plans.planted import patched
from tests.simulation.plans.script import Script
from tests.simulation.run import judged, run_seed
from tests.simulation.world.settings import NO_BIAS

SEEDS = 60
#: A join that came late undid what was told, in this world.
LATE_JOIN = 228
ACTS = (administrators.SET, administrators.SET, "take back")
SHARP = (administrators.SET, administrators.SET_AND_CUT, administrators.SET_AND_LOSE)


def test_no_promise_is_broken_where_intervals_are_set() -> None:
    """I1 to I6: with the holder cut off, or the database failing over, right after it."""
    broken = {seed: told for seed in range(SEEDS) if (told := judged(seed, NO_BIAS, asked=SHARP))}

    assert broken == {}


def test_a_join_that_comes_late_does_not_undo_a_told_interval() -> None:
    """I3: the world in which that was found."""
    assert judged(LATE_JOIN, NO_BIAS, asked=ACTS) == []


@pytest.mark.parametrize("name", PLANTED_INTERVALS)
def test_a_transcript_catches(name: str) -> None:
    transcript = interval_transcripts.OF_PLANTED[name]
    transcript()

    with patched(PLANTED_INTERVALS[name].patches), pytest.raises(AssertionError):
        transcript()


@pytest.mark.parametrize(("name", "seed"), SIMULATED.items())
def test_the_simulation_catches(name: str, seed: int) -> None:
    bug = PLANTED_INTERVALS[name]
    with patched(bug.patches):
        told = judged(seed, BIAS, asked=bug.acts)

    assert told, f"{bug.rule}: broken, and seed {seed} does not show it any more"
    assert judged(seed, BIAS, asked=bug.acts) == []


def test_intervals_are_told_in_the_worlds() -> None:
    steps = [step for seed in range(5) for step in run_seed(seed, asked=ACTS).trace]

    assert any("TellInterval" in step for step in steps)


def test_a_node_says_once_that_the_group_overrules_its_file() -> None:
    """I1: with the change, the group's value and its own."""
    told = Told()
    told.set(setting(7, 10.0))

    first, second = log(told.beat(1.0)), log(told.beat(2.0))

    assert "interval-overrules" in first
    assert "interval-overrules" not in second


def test_a_node_does_not_take_over_what_its_heartbeat_does_not_allow() -> None:
    """I1: two heartbeats of 1 s need more than a lease of 1.46 s."""
    told = Told()
    told.set(setting(7, 2.0))

    first = log(told.beat(1.0))

    assert "interval-unfit" in first
    assert told.trusted_for == 6.0
    assert told.tells == []


def test_a_value_that_was_taken_back_is_not_told_any_more() -> None:
    """I3: the row goes back to the file's, and a lease does not get longer by that."""
    told = Told()
    told.set(setting(7, 4.0))
    for now in (1.0, 2.0, 3.0, 4.0, 5.0):
        told.beat(now)
    assert told.tells == [4.0]
    told.set()

    told.beat(6.0)
    told.beat(7.0)

    assert told.tells == [4.0, 6.0]
    assert told.trusted_for == 4.0


def test_a_new_session_begins_with_the_interval_of_its_file() -> None:
    """I4: in force is 10 s, and the row that a join writes shows 6 s."""
    script = Script()
    stands = Told()
    stands.set(setting(7, 10.0, agreed=True))
    script.tick(0.0)
    assert isinstance(script.pending, Join)

    script.answer(0.0, stands.shown())

    assert script.node.timing.liveness_s == 6.0
    assert script.node.epoch is not None
    assert script.node.epoch.longest_liveness_s == 10.0, "it knows of the longer one (E3)"


def test_a_longer_lease_is_waited_out_by_whoever_knows_of_it() -> None:
    """I4, E3: before it is agreed on, and on another identity without it."""
    told = Told()
    told.set(setting(7, 10.0))
    told.beat(1.0)

    assert told.script.node.epoch is not None
    assert told.script.node.epoch.longest_liveness_s == 10.0

"""Rule G4's rounds against programs that fork while they are killed, and broken variants of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.guardian.chase import STOPS_MAX, Chase, Process, Signal
from tests.simulation.kills.world import Killing, Setting, kill

SEEDS = range(12)


def setting_of(seed: int) -> Setting:
    return Setting(seed=seed, first=5 + 3 * seed, eager=(0.1, 0.5, 1.0)[seed % 3])


def wrong_in(setting: Setting, ended: Killing) -> list[str]:
    """Name what G4 does not allow."""
    wrong = []
    if ended.rounds is None:
        wrong.append("never ended")
    if ended.stopped_before_growth:
        wrong.append("stopped without a new process")
    if not setting.eager and ended.rounds != 1:
        wrong.append("a run that does not fork took more than one round")
    return wrong


def settings() -> list[Setting]:
    forking = [setting_of(seed) for seed in SEEDS]
    quiet = [replace(each, eager=0.0) for each in forking[:2]]
    return [*forking, *quiet]


def test_a_program_that_forks_is_killed_whole():
    for setting in settings():
        assert wrong_in(setting, kill(setting)) == [], setting


def test_children_of_a_protected_process_are_killed_after_the_last_stop():
    """A run that grows for ever is not left stopped: it is killed in each round after the last."""
    fed = Setting(seed=0, first=3, limit=3, is_fed=True, rounds=STOPS_MAX + 20)
    seen: list[Signal] = []

    def decide(chase: Chase, found: frozenset[Process]) -> tuple[Chase, Signal]:
        chase, signal = chase.after_look(found)
        seen.append(signal)
        return chase, signal

    ended = kill(fed, decide)

    assert ended.stops <= STOPS_MAX
    assert seen[-1] is Signal.KILL


def kills_at_once(chase: Chase, found: frozenset[Process]) -> tuple[Chase, Signal]:
    """Kill in each round: a death makes room for a fork."""
    chase, _ = chase.after_look(found)
    return chase, Signal.KILL


def stops_first(chase: Chase, found: frozenset[Process]) -> tuple[Chase, Signal]:
    """Stop what one look found, and kill it with the next, whatever that shows."""
    after, _ = chase.after_look(found)
    return after, Signal.KILL if chase.found else Signal.STOP


def forgets(chase: Chase, found: frozenset[Process]) -> tuple[Chase, Signal]:
    """Compare with the last look only through its number of processes."""
    after, _ = chase.after_look(found)
    return after, Signal.STOP if len(found) > len(chase.found) else Signal.KILL


@pytest.mark.parametrize("broken", [kills_at_once, stops_first, forgets])
def test_a_broken_chase_is_found(broken):
    assert any(wrong_in(setting, kill(setting, broken)) for setting in settings())

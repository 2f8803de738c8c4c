"""Planned changes in worlds where everything else goes wrong as well, and planted bugs in them."""

from __future__ import annotations

import pytest

from tests.simulation.group.settings import NO_GROUP_BIAS
from tests.simulation.planned.planted import PLANTED_IN_PLANS
from tests.simulation.plans.planted import patched
from tests.simulation.run import judged, run_seed
from tests.simulation.world.settings import NO_BIAS

#: In chunks: every change meets the first one, `make faults` all.
SEEDS = 200
CHUNK = 50
#: Worlds of task groups take longer.
SEEDS_OF_TASKS = 60
CHUNK_OF_TASKS = 30
#: A planted bug shows itself within so many worlds.
SEEDS_MAX = 300


def _firsts(seeds: int, chunk: int) -> list[object]:
    later = (pytest.param(first, marks=pytest.mark.long) for first in range(chunk, seeds, chunk))
    return [0, *later]


@pytest.mark.parametrize("first", _firsts(SEEDS, CHUNK))
def test_no_promise_is_broken_where_administrators_ask(first: int) -> None:
    """A1 to A8: beside no overlap, rising terms, and a holder after all has healed."""
    seeds = range(first, first + CHUNK)
    broken = {seed: told for seed in seeds if (told := judged(seed, asked=()))}

    assert broken == {}


@pytest.mark.parametrize("first", _firsts(SEEDS_OF_TASKS, CHUNK_OF_TASKS))
def test_no_promise_about_tasks_is_broken_where_administrators_ask(first: int) -> None:
    """A2, A3, A7: each task runs on its own node at the end, and on no other on the way."""
    seeds = range(first, first + CHUNK_OF_TASKS)
    broken = {seed: told for seed in seeds if (told := judged(seed, NO_GROUP_BIAS, asked=()))}

    assert broken == {}


@pytest.mark.parametrize("name", PLANTED_IN_PLANS)
def test_the_simulation_catches(name: str) -> None:
    bug = PLANTED_IN_PLANS[name]
    bias = NO_GROUP_BIAS if bug.tasks else NO_BIAS
    with patched(bug.patches):
        caught = next(
            (seed for seed in range(SEEDS_MAX) if judged(seed, bias, bug.database, bug.acts)), None
        )
    assert caught is not None, f"{bug.rule}: broken, and {SEEDS_MAX} seeds did not show it"

    print(f"{name}: caught by seed {caught}")
    assert judged(caught, bias, asked=bug.acts) == []


def test_every_kind_of_change_is_asked_for_and_ends() -> None:
    kinds, outcomes = set(), set()
    for seed in range(60):
        for at, who, *what in run_seed(seed, asked=()).trace:
            if who == "administrator":
                kinds.add((what[0], what[1]))
            assert at >= 0
            outcomes.add(who)
    assert {kind for kind, done in kinds if done is True} >= {
        *("switchover", "switchover to", "switchover at", "cancel", "resign"),
        *("pause work", "pause takeovers", "resume", "drain", "undrain", "priority"),
    }

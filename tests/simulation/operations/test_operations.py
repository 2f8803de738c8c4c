"""Owners killed, frozen and cut while an operation runs: what holds in every world (rules Q)."""

from __future__ import annotations

import collections
import itertools

import pytest

from coordinator.protocol.operations.machine import OperationState
from tests.simulation.operations.planted import PLANTED
from tests.simulation.operations.world import Rules, World

SEEDS = range(150)


def broken(world: World) -> set[str]:
    """Return the names of the checks that a world's history breaks."""
    found = set()
    if world.overlaps:
        found.add("overlap")
    terms = collections.defaultdict(list)
    for _, key, term in world.claims:
        terms[key].append(term)
    if any(later <= one for each in terms.values() for one, later in itertools.pairwise(each)):
        found.add("terms")
    counts = collections.Counter(key for key, _ in world.effects)
    if any(count > 1 for count in counts.values()):
        found.add("effects")
    if world.cancelled_at is not None and any(at > world.cancelled_at for at, _, _ in world.claims):
        found.add("after cancel")
    if any(not stuck for _, _, stuck in world.hangs):
        found.add("killed")
    state = world.operation.state
    if state is OperationState.COMPLETE:
        if set(counts) != {str(number) for number in range(world.count)}:
            found.add("effects")
    elif not (world.cancelled_at is not None and state is OperationState.CANCELLED):
        found.add("end")
    return found


def lived(seed: int, rules: Rules | None = None) -> World:
    world = World(seed, rules or Rules(), cancel=seed % 3 == 0)
    world.run()
    return world


def test_every_world_ends_with_each_subtask_done_once():
    """Q1 to Q9, J1 to J3"""
    wrong = {seed: found for seed in SEEDS if (found := broken(lived(seed)))}

    assert wrong == {}


def test_the_worlds_have_what_they_are_for():
    worlds = [lived(seed) for seed in SEEDS]

    states = collections.Counter(world.operation.state for world in worlds)
    assert states[OperationState.CANCELLED] >= 10
    assert states[OperationState.COMPLETE] >= 50
    again = sum(term > 1 for world in worlds for _, _, term in world.claims)
    assert again >= 30
    assert sum(len(world.hangs) for world in worlds) >= 10


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str):
    rules, told = PLANTED[bug]

    assert any(broken(lived(seed, rules)) & told for seed in SEEDS)

"""Rules V in a world of writers that die anywhere: V1, V2, V3, V5, V7 and V9."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from coordinator.segments import rules
from tests.simulation.checkpoints.world import Rules, world_of

SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_committed_checkpoints_stay_readable_and_nothing_half_stays(seed: int):
    world = world_of(seed)

    assert world.found == []


def test_the_worlds_do_what_they_are_for():
    worlds = [world_of(seed) for seed in SEEDS]

    assert sum(world.done for world in worlds) > 100
    assert sum(world.made - world.done for world in worlds) > 100
    assert sum(world.moved for world in worlds) > 100


@dataclass(frozen=True)
class Planted:
    rules: Rules
    seen: str


#: Each breaks one rule; a seed among a few finds it.
PLANTED = {
    "V1: the files before the intent": Planted(Rules(intent_first=False), "left for ever"),
    "V2: a commit without the fence": Planted(
        Rules(may_commit=lambda state, *_, **__: state == rules.WRITING), "deposed"
    ),
    "V2: a commit of what was collected": Planted(
        Rules(
            may_commit=lambda state, mine, token, **_: state is not None and mine.term <= token.term
        ),
        "deposed",
    ),
    "V3: every intent is an orphan": Planted(
        Rules(is_orphan=lambda state, *_: state == rules.WRITING), "own checkpoint was refused"
    ),
    "V3: no orphan is collected": Planted(Rules(is_orphan=lambda *_: False), "left for ever"),
    "V3: a note goes with the first deletion": Planted(
        Rules(may_forget=lambda due_for_s, **_: due_for_s >= 0), "left for ever"
    ),
    "V5: what is due is deleted, wherever it is placed": Planted(
        Rules(may_delete=lambda due, **_: due), "files are not all there"
    ),
    "V9: a sweeper that looks and deletes without the lock": Planted(
        Rules(locked=False), "files are not all there"
    ),
    "V7: the newest expires": Planted(
        Rules(expired=lambda kept, *_: tuple(each.checkpoint for each in kept)), "newest expired"
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_broken_rule_is_found(name: str):
    planted = PLANTED[name]

    found = [line for seed in range(30) for line in world_of(seed, planted.rules).found]

    assert any(planted.seen in line for line in found)

"""`coord once` in simulated worlds: a slot is started once, and no slot is left out (M6 to M8)."""

from __future__ import annotations

import collections

import pytest

from tests.simulation.once.world import SLOT_S, SLOTS, Setting, World, run

SEEDS = range(150)


def starts_of(world: World) -> collections.Counter[float]:
    return collections.Counter(slot for slot, _ in world.starts)


def left_out(world: World) -> set[float]:
    return {number * SLOT_S for number in range(1, SLOTS + 1)} - set(starts_of(world))


def twice(world: World) -> list[float]:
    """Return the slots that were started more often than their starters died."""
    ended = {slot for slot, _ in world.ends}
    again = [slot for slot, count in starts_of(world).items() if count > 1]
    if world.setting.retry_after_s is None:
        return again
    deaths = len(world.starts) - len(world.ends)
    return [slot for slot in again if slot in ended and starts_of(world)[slot] > 1 + deaths]


@pytest.mark.parametrize("retry_after_s", [None, 3.0])
def test_each_slot_is_started_once_where_nobody_dies(retry_after_s):
    """M6, M7"""
    for seed in SEEDS:
        world = run(Setting(seed=seed, retry_after_s=retry_after_s))

        assert set(starts_of(world).values()) == {1}, seed
        assert left_out(world) == set(), seed


def test_a_slot_is_started_once_at_most_where_nodes_die():
    """M7: a machine that died before its claim has started nothing, and another does."""
    left = 0
    for seed in SEEDS:
        world = run(Setting(seed=seed, faults=0.1))

        assert twice(world) == [], seed
        left += len(left_out(world))
    assert left <= 0.01 * len(SEEDS) * SLOTS


def test_a_slot_whose_starter_died_is_run_to_its_end_where_that_is_wanted():
    """M8"""
    ended = deaths = 0
    for seed in SEEDS:
        world = run(Setting(seed=seed, faults=0.1, retry_after_s=2.0))

        assert twice(world) == [], seed
        assert max(collections.Counter(slot for slot, _ in world.ends).values()) == 1, seed
        ended, deaths = ended + len(world.ends), deaths + world.deaths
    assert deaths > len(SEEDS)
    assert ended >= 0.97 * len(SEEDS) * SLOTS


@pytest.mark.parametrize(
    ("planted", "faults", "found"),
    [
        ("leaves-when-held", 0.0, left_out),
        ("reserves-for-ever", 0.1, left_out),
        ("claims-without-looking", 0.1, twice),
    ],
)
def test_a_broken_rule_is_found(planted, faults, found):
    """M7: a machine that leaves when it finds the token held by a late one of the slot before, a
    reservation that outlives its machine, a claim that does not look at the record."""
    worlds = [
        run(Setting(seed=seed, faults=faults, start_max_s=40.0, planted=planted)) for seed in SEEDS
    ]

    assert any(found(world) for world in worlds)


def test_machines_that_are_slow_to_start_leave_no_slot_out():
    """M7: the same worlds as those of the broken rules."""
    assert [seed for seed in SEEDS if left_out(run(Setting(seed=seed, start_max_s=40.0)))] == []

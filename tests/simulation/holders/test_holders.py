"""Rules U under faults, and broken variants of them that the same plans find."""

from __future__ import annotations

import pytest

from tests.simulation.holders.plan import STORIES, play
from tests.simulation.holders.planted import PLANTED, planted

#: Of the whole plan, and of each story; a story is a tenth of the work.
PLANS, PHASES = 60, 60


@pytest.mark.parametrize("story", STORIES)
def test_u1_to_u5_hold_whatever_fails(story):
    seeds = range(PLANS if story is play else PHASES)

    assert {seed: wrong for seed in seeds if (wrong := story(seed))} == {}


@pytest.mark.parametrize("variant", PLANTED)
def test_a_broken_rule_is_found(variant):
    with planted(variant()):
        assert any(story(seed) for seed in range(PHASES) for story in (*STORIES[1:], play))


@pytest.mark.long
def test_u1_to_u5_hold_in_many_plans():
    for story in STORIES:
        assert {seed: wrong for seed in range(5_000) if (wrong := story(seed))} == {}

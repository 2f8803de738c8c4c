"""Decisions about checkpoints: retention, checks, devices (V4, V7)."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.segments.faults import DiskError
from coordinator.segments.placing import (
    Device,
    Placed,
    choose,
    choose_one,
    default_width,
    fill,
    moves,
    ratio,
)
from coordinator.segments.rules import Kept, expired, state_after_check

STATES = ("WRITING", "INTACT", "DAMAGED", "MISSING", "REBUILDING")
VERDICTS = ("INTACT", "DAMAGED", "MISSING")


@given(
    st.lists(st.floats(0, 1_000), max_size=9),
    st.integers(1, 5),
    st.none() | st.floats(0, 1_000),
)
def test_retention_keeps_the_newest_and_what_is_young_enough(
    ages: list[float], keep_count: int, keep_s: float | None
):
    """V7."""
    kept = [
        Kept(checkpoint=number + 100, sequence=number, age_s=age)
        for number, age in enumerate(sorted(ages, reverse=True))
    ]

    gone = set(expired(kept, keep_count, keep_s))

    stays = [each for each in kept if each.checkpoint not in gone]
    assert len(stays) <= keep_count
    assert not kept or kept[-1] in stays
    newest = kept[-keep_count:]
    assert stays == [
        each for each in newest if keep_s is None or each.age_s <= keep_s or each is kept[-1]
    ]


@pytest.mark.parametrize(
    ("state", "verdict"), itertools.product(STATES, VERDICTS), ids=lambda word: word
)
def test_a_check_without_fix_changes_nothing(state: str, verdict: str):
    assert state_after_check(state, verdict, whole=True, fix=False) == state


@pytest.mark.parametrize(
    ("state", "verdict"), itertools.product(STATES, VERDICTS), ids=lambda word: word
)
def test_a_sample_never_makes_a_segment_intact(state: str, verdict: str):
    """V4."""
    after = state_after_check(state, verdict, whole=False, fix=True)

    assert after == state or (after != "INTACT" and after == verdict)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("state", ["WRITING", "REBUILDING"])
def test_a_segment_with_an_owner_is_left_to_it(state: str, verdict: str):
    assert state_after_check(state, verdict, whole=True, fix=True) == state


@pytest.mark.parametrize("state", ["INTACT", "DAMAGED", "MISSING"])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_whole_check_with_fix_writes_its_verdict(state: str, verdict: str):
    assert state_after_check(state, verdict, whole=True, fix=True) == verdict


@pytest.mark.parametrize(
    ("nodes", "width"), [(1, (1, 1)), (3, (1, 1)), (4, (2, 1)), (6, (2, 1)), (7, (4, 2))]
)
def test_the_width_grows_with_the_nodes(nodes: int, width: tuple[int, int]):
    assert default_width(nodes, erasure_code=True) == width
    assert default_width(nodes, erasure_code=False) == (1, 1)


def devices(*free: int, per_node: int = 1) -> list[Device]:
    return [
        Device(device=f"d{index}", node=f"n{index // per_node}", free_bytes=each)
        for index, each in enumerate(free)
    ]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 6))
def test_segments_are_on_different_nodes_as_far_as_there_are(free: list[int], count: int):
    known = devices(*(each * 1_000 for each in free), per_node=2)
    roomy = {each.node for each in known if each.free_bytes > 100 * count}
    if not any(each.free_bytes > 100 for each in known):
        with pytest.raises(DiskError):
            choose(known, count, 100)
        return
    try:
        chosen = choose(known, count, 100)
    except DiskError:
        # Even all devices together have not got the room.
        assert sum(each.free_bytes // 100 for each in known) < count + len(known)
        return

    assert len({each.node for each in chosen}) >= min(count, len(roomy))
    for each in known:
        assert each.free_bytes > 100 * chosen.count(each) or each not in chosen


def test_a_full_disk_is_not_chosen():
    assert [each.device for each in choose(devices(10, 1_000, 1_000), 2, 100)] == ["d1", "d2"]
    with pytest.raises(DiskError, match="no storage device of the group has room"):
        choose(devices(10, 10), 1, 100)


def test_one_more_segment_goes_where_the_others_are_not():
    known = devices(1_000, 1_000, 1_000)

    assert choose_one(known, 10, {"n0", "n2"}, {"d0", "d2"}).device == "d1"
    assert choose_one(known[:1], 10, {"n0"}, {"d0"}).device == "d0"


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 8), st.integers(1, 60))
def test_moves_make_the_fill_even_and_part_no_checkpoint(seed: int, count: int, groups: int):
    """The plan, without the moving."""
    chance = random.Random(seed)
    known = devices(*[10**9] * count)
    placed = []
    for checkpoint in range(groups):
        size = chance.randrange(1, 100)
        # All on the first half: the others are new.
        for place, device in enumerate(chance.sample(known[: max(2, count - 1)], 2)):
            placed.append(
                Placed(
                    segment=f"{checkpoint}.{place}",
                    checkpoint=checkpoint,
                    device=device.device,
                    size=size,
                )
            )
    planned = moves(known, placed)
    to = {move.placed.segment: move.to for move in planned}
    after = [
        Placed(
            segment=each.segment,
            checkpoint=each.checkpoint,
            device=to.get(each.segment, each.device),
            size=each.size,
        )
        for each in placed
    ]

    assert ratio(fill(known, after)) <= ratio(fill(known, placed))
    for checkpoint in range(groups):
        where = [each.device for each in after if each.checkpoint == checkpoint]
        assert len(set(where)) == len(where)
    assert len(to) == len(planned)


def test_a_new_node_is_filled_to_the_mean():
    """The fullest has at most 1.1 of the mean."""
    known = devices(*[10**9] * 4)
    placed = [
        Placed(
            segment=f"{checkpoint}.{place}",
            checkpoint=checkpoint,
            device=f"d{(checkpoint + place) % 3}",
            size=10,
        )
        for checkpoint in range(60)
        for place in range(2)
    ]

    planned = moves(known, placed)

    assert {move.to for move in planned} == {"d3"}
    used = fill(known, placed)
    for move in planned:
        used[move.placed.device] -= 10
        used[move.to] += 10
    assert ratio(used) <= 1.1

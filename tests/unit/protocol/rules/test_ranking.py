"""Ranking, the moment of the next heartbeat, and how often a program is started again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.protocol.messages.requests import Candidate
from coordinator.protocol.node import next_beat
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.rules.ranking import (
    FRONT_PLACES,
    HEAD_START_S,
    head_start,
    rank,
    ready_rival,
    spread,
    weight,
)
from coordinator.protocol.rules.restarts import (
    BACKOFF_MAX_S,
    QUICK_ENDS_MAX,
    STEADY_S,
    Restarts,
    crash_loop,
    ended,
)
from tests.simulation.plans.script import TIMING, held, seen, view

NAMES = st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=12, unique=True)


def candidates(*names: str, priority: int = 1) -> list[Candidate]:
    return [Candidate(node=name, priority=priority) for name in names]


@given(NAMES)
def test_every_node_has_a_place_of_its_own(names: list[str]) -> None:
    """R4"""
    roster = candidates(*names)
    places = sorted(rank("G", name, None, roster) for name in names)
    assert places == list(range(len(names)))


@given(NAMES)
def test_a_node_that_goes_changes_no_other_order(names: list[str]) -> None:
    roster = candidates(*names)
    order = sorted(names, key=lambda name: rank("G", name, None, roster))
    left = [one for one in roster if one.node != order[0]]
    assert sorted(order[1:], key=lambda name: rank("G", name, None, left)) == order[1:]


def test_priority_comes_before_the_hash() -> None:
    roster = [*candidates("a", "b", "c"), Candidate(node="d", priority=5)]
    assert rank("G", "d", None, roster) == 0


def test_holder_and_watchers_do_not_stand_in_line() -> None:
    roster = candidates("a", "b")
    first, second = sorted("ab", key=lambda name: rank("G", name, None, roster))
    assert rank("G", second, first, roster) == 0
    never = [Candidate(node=first, priority=0), Candidate(node=second, priority=1)]
    assert rank("G", second, None, never) == 0


def test_groups_have_different_orders() -> None:
    firsts = {min("abc", key=lambda n: weight(f"group-{g}", n)) for g in range(30)}
    assert firsts == {"a", "b", "c"}


def test_head_starts_rise_and_shrink_behind_the_front() -> None:
    starts = [head_start(place) for place in range(1000)]
    assert starts[0] == 0.0
    assert starts == sorted(starts)
    assert starts[1] - starts[0] == pytest.approx(HEAD_START_S)
    assert starts[FRONT_PLACES + 1] - starts[FRONT_PLACES] < HEAD_START_S


@given(st.text(), st.integers(min_value=0))
def test_spread_repeats_and_stays_below_one(seed: str, count: int) -> None:
    assert 0 <= spread(seed, count) < 1
    assert spread(seed, count) == spread(seed, count)


# --- heartbeats ---------------------------------------------------------------------------------


def node(**changes: object) -> Node:
    made = Node(policy=Policy(node="n0", group="G", seed="s"), timing=TIMING, session="mine")
    return replace(made, **changes)  # type: ignore[arg-type]


@given(st.integers(min_value=0, max_value=10**6))
def test_heartbeats_are_early_by_at_most_the_jitter(count: int) -> None:
    due = next_beat.schedule(node(beat_count=count), 10.0).beat_at - 10.0
    assert TIMING.heartbeat_s * (1 - next_beat.JITTER) <= due <= TIMING.heartbeat_s


def test_first_in_line_looks_just_after_the_holders_beat() -> None:
    shown = view(held("other"), seen("other", 7, age_s=0.4))
    first = next_beat.schedule(node(view=shown, place=0), 10.0)
    second = next_beat.schedule(node(view=shown, place=1), 10.0)
    assert first.beat_at == pytest.approx(10.0 + 0.6 + next_beat.LAG_S)
    assert second.beat_at >= 10.0 + TIMING.heartbeat_s * (1 - next_beat.JITTER)


def test_a_nonsense_age_moves_no_beat() -> None:
    for age_s in (-3.0, 1e9):
        shown = view(held("other"), seen("other", 7, age_s=age_s))
        due = next_beat.schedule(node(view=shown, place=0), 10.0).beat_at
        assert 10.9 <= due <= 11.0


# --- restarts -----------------------------------------------------------------------------------


def test_quick_ends_are_counted_and_slowed_down() -> None:
    """B5, B6"""
    restarts, waits = Restarts(), []
    for _ in range(8):
        restarts = ended(restarts, 0.1, 100.0)
        waits.append(restarts.start_at - 100.0)
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(0.1)
    assert waits[-1] == BACKOFF_MAX_S


def test_crash_loop_after_so_many_quick_ends() -> None:
    restarts = Restarts()
    for count in range(1, QUICK_ENDS_MAX + 1):
        restarts = ended(restarts, 0.1, 0.0)
        assert crash_loop(restarts) == (count == QUICK_ENDS_MAX)


def test_a_steady_run_forgives_the_quick_ends() -> None:
    restarts = ended(Restarts(quick_ends=4), STEADY_S, 0.0)
    assert not crash_loop(restarts)


def test_a_standby_that_is_ready_comes_before_priority_and_hash() -> None:
    """Y8"""
    roster = [
        *candidates("a", "b"),
        Candidate(node="c", priority=9),
        Candidate(node="d", priority=1, ready=True),
        Candidate(node="e", priority=0, ready=True),
    ]
    assert rank("G", "d", None, roster) == 0
    assert rank("G", "c", None, roster) == 1
    assert ready_rival("c", None, roster)
    assert not ready_rival("c", "d", roster)
    assert not ready_rival("d", None, roster)

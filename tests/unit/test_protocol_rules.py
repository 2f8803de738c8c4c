"""Trust, terms, epochs and watching: the small rules that everything else stands on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordinator.protocol.epoch import changed, dead_branch, may_act, observe, settle_at
from coordinator.protocol.terms import TERMS_PER_TIMELINE, next_term
from coordinator.protocol.trust import expired, fresh, trust_end
from coordinator.protocol.watch import Sight, Watch, interrupted, kept, silent_at, watched
from tests.simulation.script import held, identity, seen, view

TERM = st.integers(min_value=0, max_value=9 * 10**15)
TIMELINE = st.integers(min_value=1, max_value=9_000_000)
MOMENT = st.floats(min_value=0, max_value=1e6)


# --- trust --------------------------------------------------------------------------------------


def test_slow_answer_does_not_lengthen_trust() -> None:
    """T2"""
    assert trust_end(10.0, 10.1, 4.7) == trust_end(10.0, 14.0, 4.7) == 14.7


def test_trust_is_over_at_its_end() -> None:
    """T3: at the moment itself a standby may already take."""
    assert not expired(14.7, 14.69)
    assert expired(14.7, 14.7)


def test_after_two_missed_renewals_nothing_starts() -> None:
    """T5"""
    until = trust_end(10.0, 10.0, 4.7)
    assert fresh(until, 11.9, 4.7, 1.0)
    assert not fresh(until, 12.1, 4.7, 1.0)


# --- terms --------------------------------------------------------------------------------------


def test_terms_of_the_first_timeline_are_1_2_3() -> None:
    """N1"""
    assert next_term(0, 1, 0) == 1
    assert next_term(1, 1, 1) == 2


def test_second_timeline_starts_above_all_of_the_first() -> None:
    """N1: whatever was granted in the lost part of timeline 1."""
    assert next_term(3, 2, 3) == 1_000_000_001
    assert next_term(1_000_000_001, 2, 3) == 1_000_000_002


@given(TERM, TIMELINE, TERM)
def test_next_term_rises_above_all_that_is_known(seen_term: int, line: int, known: int) -> None:
    term = next_term(seen_term, line, known)
    assert term > seen_term
    assert term > known
    assert term > (line - 1) * TERMS_PER_TIMELINE


# --- epochs -------------------------------------------------------------------------------------


def test_new_identity_starts_the_wait() -> None:
    """E3"""
    first = observe(None, view(), 5.0, 6.0)
    assert settle_at(first) == 11.0

    promoted = observe(first, view(settled=False, timeline=2, started_at=2), 8.0, 6.0)
    assert settle_at(promoted) == 14.0

    again = observe(promoted, view(settled=False, timeline=2, started_at=2), 9.0, 6.0)
    assert settle_at(again) == 14.0


def test_restart_of_the_server_starts_the_wait_again() -> None:
    first = observe(None, view(settled=False, timeline=2), 5.0, 6.0)
    restarted = observe(first, view(settled=False, timeline=2, started_at=2), 9.0, 6.0)
    assert settle_at(restarted) == 15.0


def test_identity_that_was_settled_and_is_not_any_more_is_new() -> None:
    """A backup was restored to the timeline's own number."""
    settled = observe(None, view(timeline=2), 5.0, 6.0)
    assert changed(settled, view(settled=False, timeline=2))


def test_longest_known_interval_is_waited_out() -> None:
    """E3: another node's interval counts, and one that was seen before it was lost."""
    of_holder = replace(seen("s"), liveness_s=30.0)
    first = observe(None, view(held("s"), of_holder), 5.0, 6.0)
    promoted = observe(first, view(settled=False, timeline=2), 8.0, 6.0)
    assert settle_at(promoted) == 38.0


def test_nobody_acts_on_an_unsettled_identity() -> None:
    """E2"""
    assert may_act(view())
    assert not may_act(view(settled=False))


def test_lower_timeline_is_a_dead_branch() -> None:
    """E4"""
    known = observe(None, view(timeline=3), 5.0, 6.0)
    assert dead_branch(known, view(timeline=2))
    assert not dead_branch(known, view(timeline=3))
    assert not dead_branch(known, view(timeline=4))
    assert not dead_branch(None, view(timeline=1))
    another = replace(view(), identity=replace(identity(1), system_identifier=8))
    assert not dead_branch(known, another)


# --- watching -----------------------------------------------------------------------------------

SIGHT = Sight(identity(), 4, "s", 7)


def test_unchanged_sight_keeps_its_beginning() -> None:
    """O1"""
    watch = watched(Watch(SIGHT, 1.0, 1.0), SIGHT, 2.0, 4.0)
    assert watch == Watch(SIGHT, 1.0, 2.0)


def test_any_change_starts_the_wait_again() -> None:
    """O2: backwards too."""
    changes = (
        replace(SIGHT, beat=8),
        replace(SIGHT, beat=6),
        replace(SIGHT, session="t"),
        replace(SIGHT, term=5),
        replace(SIGHT, identity=identity(2)),
        replace(SIGHT, identity=identity(1, started_at=2)),
    )
    for sight in changes:
        assert watched(Watch(SIGHT, 1.0, 1.0), sight, 2.0, 4.0) == Watch(sight, 2.0, 2.0)


def test_gap_in_the_watching_starts_the_wait_again() -> None:
    """O3"""
    assert watched(Watch(SIGHT, 1.0, 1.0), SIGHT, 5.1, 4.0) == Watch(SIGHT, 5.1, 5.1)
    assert not kept(Watch(SIGHT, 1.0, 1.0), 5.1, 4.0)


def test_failed_read_ends_the_watch() -> None:
    """O3"""
    assert interrupted(Watch(SIGHT, 1.0, 1.0)) is None


def test_holder_is_dead_after_the_interval_that_it_wrote_itself() -> None:
    """O4"""
    watch = Watch(SIGHT, 1.0, 1.0)
    assert silent_at(watch, replace(seen("s"), liveness_s=30.0), 6.0) == 31.0
    assert silent_at(watch, replace(seen("s"), liveness_s=0.0), 6.0) == 7.0


@given(st.lists(st.tuples(st.floats(min_value=0.01, max_value=8.0), st.integers(0, 2))))
def test_wait_is_never_longer_than_what_was_really_watched(
    reads: list[tuple[float, int]],
) -> None:
    """O1 to O3, whatever was read when: since `since` every read showed this sight, gaplessly."""
    watch, log, now = None, [], 0.0
    for gap_s, beat in reads:
        now += gap_s
        log.append((now, beat))
        watch = watched(watch, replace(SIGHT, beat=beat), now, 4.0)
    if watch is None:
        return
    during = [(at, beat) for at, beat in log if at >= watch.since]
    assert {beat for _, beat in during} == {watch.sight.beat}
    moments = [at for at, _ in during]
    assert all(later - at <= 4.0 + 1e-9 for at, later in pairwise(moments))

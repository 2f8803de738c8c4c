"""Trust, terms, epochs and watching: the small rules that everything else stands on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordinator.protocol.messages.requests import View
from coordinator.protocol.rules.epoch import (
    MEMORY_S,
    changed,
    left_behind,
    may_act,
    missed,
    observe,
    proven,
    settle_at,
    sighted,
    waits,
)
from coordinator.protocol.rules.terms import granted_term, next_term
from coordinator.protocol.rules.trust import expired, fresh, trust_end
from coordinator.protocol.rules.watch import Sight, Watch, kept, silent_at, watched
from tests.simulation.plans.script import held, identity, seen, view

TERM = st.integers(min_value=0, max_value=9 * 10**15)
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


def test_terms_of_the_first_branch_are_1_2_3() -> None:
    """N1"""
    assert granted_term(next_term(0, 0), 0, 0, None, 1_795_000_000_000) == 1
    assert granted_term(next_term(1, 1), 1, 0, None, 1_795_000_000_000) == 2


def test_terms_of_other_branches_come_from_the_clock() -> None:
    """N1: whatever was granted in a part that is lost, it was granted before now."""
    first = granted_term(next_term(3, 3), 3, 0, 1_795_000_000_000, 1_795_000_000_000)
    assert first == 1_795_000_000_000
    # As soon as two are granted within a millisecond, or the clock was set back.
    back = 1_700_000_000_000
    assert granted_term(next_term(first, first), first, 0, back, back) == first + 1


def test_once_a_term_was_the_clocks_all_later_ones_are() -> None:
    """N1: also where nobody says any more that a copy streams from the first branch."""
    later = 1_795_000_007_000
    assert granted_term(1_795_000_000_001, 1_795_000_000_000, 0, None, later) == later


@given(TERM, TERM, TERM, st.none() | TERM, TERM)
def test_next_term_rises_above_all_that_is_known(
    seen_term: int, known: int, floor: int, clock_ms: int | None, now_ms: int
) -> None:
    term = granted_term(next_term(seen_term, known), seen_term, floor, clock_ms, now_ms)
    assert term > max(seen_term, known, floor)
    assert term >= (clock_ms or 0)


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


def at(timeline: int, started_at: int = 1) -> View:
    return view(timeline=timeline, started_at=started_at)


def test_branch_is_left_behind_by_a_later_one() -> None:
    """E4: of two with the same number the one that was started later counts, for everybody."""
    known = observe(None, at(3, 7), 5.0, 6.0)
    for earlier in (identity(2, 9), identity(3, 6)):
        assert left_behind(known, earlier, 6.0)
    for not_earlier in (identity(3, 7), identity(3, 8), identity(4, 1)):
        assert left_behind(known, not_earlier, 6.0) is None
    assert left_behind(None, identity(1), 6.0) is None
    assert left_behind(known, replace(identity(1), system_identifier=8), 6.0) is None


def test_later_branch_that_is_gone_counts_no_longer_than_a_lease() -> None:
    """E4: it may have been promoted by mistake."""
    known = sighted(observe(None, at(2), 5.0, 6.0), identity(3), 8.0)
    assert left_behind(known, identity(2), 99.0), "nothing has answered in its place"
    known = missed(known, identity(2), 100.0)
    known = missed(known, identity(2), 105.0)
    assert left_behind(known, identity(2), 105.9)
    assert left_behind(known, identity(2), 106.0) is None
    # As soon as it is seen again the wait begins anew.
    assert left_behind(sighted(known, identity(3), 105.0), identity(2), 106.0)


def test_restart_in_place_is_proven_by_the_own_heartbeats() -> None:
    """E3: the row of this node shows all that was acknowledged to it, and more."""
    before = observe(None, branch(at(2, 1)), 5.0, 6.0)
    again = observe(before, branch(view(settled=False, timeline=2, started_at=2)), 7.0, 6.0, 41)
    assert not waits(again)

    there = proven(again, 42, all_there=True)
    assert settle_at(there) == 7.0
    for lost in (proven(again, 41, all_there=True), proven(again, 42, all_there=False)):
        assert settle_at(lost) == 13.0
        assert waits(lost)


def test_nothing_is_proven_about_another_branch_or_from_long_ago() -> None:
    before = observe(None, branch(at(2, 1)), 5.0, 6.0)
    shown = view(settled=False, timeline=2, started_at=2)
    another = observe(before, branch(shown, "another"), 7.0, 6.0, 41)
    promoted = observe(before, branch(replace(shown, identity=identity(3, 2))), 7.0, 6.0, 41)
    late = observe(before, branch(shown), 5.1 + MEMORY_S, 6.0, 41)
    silent = observe(before, branch(shown), 7.0, 6.0, 0)
    for unproven in (another, promoted, late, silent):
        assert not proven(unproven, 42, all_there=True).continues


def test_run_that_was_watched_for_long_needs_no_wait_of_ones_own() -> None:
    """E3: a new group may act at once, if its intervals are no longer than that."""
    watched_long = replace(view(settled=False, timeline=2), waited_s=60.0)
    assert settle_at(observe(None, watched_long, 5.0, 6.0)) == 5.0
    assert settle_at(observe(None, watched_long, 5.0, 90.0)) == 95.0


def test_long_interval_is_forgotten_when_it_was_not_seen_for_long() -> None:
    of_holder = replace(seen("s"), liveness_s=45.0)
    first = observe(None, view(held("s"), of_holder), 5.0, 6.0)
    assert observe(first, view(), MEMORY_S, 6.0).longest_liveness_s == 45.0
    assert observe(first, view(), MEMORY_S + 6.0, 6.0).longest_liveness_s == 6.0


def branch(shown: View, name: str = "one") -> View:
    return replace(shown, identity=replace(shown.identity, branch=name))


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

"""Decisions about standings: late beats, Rehab, becoming a Member, and flapping."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.group import observer
from coordinator.protocol.group.observer import (
    ObserverPolicy,
)
from coordinator.protocol.messages.group_record import Standing
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decision,
    EndSession,
    SessionSeen,
)
from tests.unit.protocol.group.transcript import (
    HERE,
    TIMES,
    Transcript,
    promotable,
    seen,
    to,
    watching,
)

# --- late beats ---------------------------------------------------------------------------------


def beats(script: Transcript, intervals: list[float]) -> float:
    """Show B's beats at these intervals, looking twice a second, A's on time; return the end."""
    now, due, beat = 0.0, 0.0, 0
    for interval in intervals:
        due, beat = due + interval, beat + 1
        while now + 0.5 < due:
            now += 0.5
            script.look(now, seen("A", int(now * 2)), seen("B", beat))
        now = due
        script.look(now, seen("A", int(now * 2) + 1), seen("B", beat + 1))
    return now


def test_member_that_is_late_again_and_again_goes_to_rehab() -> None:
    """B5, B7, H10"""
    twice, again = watching(), watching()

    assert twice.at(beats(twice, [1, 1, 1, 1, 1, 1, 2.8, 1, 2.8])) == ()
    assert again.at(beats(again, [1, 1, 1, 1, 1, 1, 2.8, 1, 2.8, 2.8])) == (
        ChangeStanding(
            node="B",
            session="s-B",
            before=Standing.MEMBER,
            after=Standing.REHAB,
            reason="3 late beats of B within 60 s (heartbeatFrequency 1)",
        ),
    )


def test_late_beats_from_before_a_rehab_never_count_again() -> None:
    """H10, B10: a node that became a Member again begins anew, although the 60 s are not over."""
    script = watching()
    now = beats(script, [1, 2.9, 2.9, 2.9])
    assert to(Standing.REHAB, script.at(now)) == ["B"]
    rehab = {"standing": Standing.REHAB, "standing_version": 7}
    member = {"standing_version": 8}
    beat = 100
    for number in range(11):
        now, beat = now + 1.0, beat + 1
        decided = script.look(now, seen("B", beat, **rehab), seen("A", beat))
        assert to(Standing.MEMBER, decided) == (["B"] if number >= 10 else [])

    decided = script.look(now + 1.0, seen("B", beat + 1, **member), seen("A", beat + 1))

    assert decided == ()
    assert script.next_at(now + 1.0) > now + 1.0


def test_decision_that_was_undone_between_two_looks_counts() -> None:
    """B10: a deputy sees the standing as it was, at another version."""
    script = watching()
    now = beats(script, [1, 2.9, 2.9])

    script.look(now + 0.5, seen("B", 4), seen("A", 49))
    script.look(now + 1.0, seen("B", 50, standing_version=9), seen("A", 50))
    script.look(now + 2.0, seen("B", 50, standing_version=9), seen("A", 51))
    script.look(now + 3.0, seen("B", 50, standing_version=9), seen("A", 52))
    decided = script.look(now + 3.9, seen("B", 51, standing_version=9), seen("A", 53))

    late = {one.seen.node: len(one.late_at) for one in script.observer.sessions}
    assert late == {"A": 0, "B": 1}
    assert decided == (), "the third late beat is the first since the decision"


def test_late_beats_never_count_when_none_may() -> None:
    """H10, B7: lateMax = 0."""
    script = watching(times=replace(TIMES, late_max=0))

    now = beats(script, [2.9] * 30)

    assert script.at(now) == ()
    assert all(one.late_at == () for one in script.observer.sessions)


def test_two_missed_beats_are_not_late() -> None:
    """B5, K6"""
    script = watching()
    now = beats(script, [2.4] * 20)
    assert script.at(now) == ()


def test_late_beats_that_are_far_apart_are_forgiven() -> None:
    """B7"""
    script = watching(times=replace(TIMES, late_within_s=10.0))
    now = beats(script, [2.8, 1, 1, 1, 2.8, 1, 1, 1, 2.8, 1, 1, 1, 2.8])
    assert script.at(now) == ()


def test_one_long_silence_is_one_late_beat() -> None:
    """B5"""
    script = watching()
    for now in range(20):
        decided = script.look(now, seen("A", now), seen("B", liveness_s=60.0))
        assert decided == ()
    assert len(script.observer.sessions[1].late_at) == 1


def test_silence_that_still_lasts_counts() -> None:
    """B5, B7: the third late beat need not arrive."""
    script = watching()
    now = beats(script, [1, 1, 2.8, 2.8])
    for step in (1.0, 2.0):
        assert script.look(now + step, seen("A", 100 + int(step)), seen("B", 5)) == ()

    assert to(Standing.REHAB, script.look(now + 2.6, seen("A", 200), seen("B", 5))) == ["B"]


def test_late_answer_makes_no_beat_late() -> None:
    """B3, B5: nobody looked in between; the beats may have been on time."""
    script = watching()
    script.gap_max_s = 20.0
    for count in range(12):
        decided = script.look(count * 2.8, seen("A", count * 3), seen("B", count * 3))
        assert decided == ()
    assert [one.late_at for one in script.observer.sessions] == [(), ()]


def test_gap_makes_no_beat_late() -> None:
    """B3, B5: nor does another identity."""
    script = watching()
    for count in range(12):
        script.look(count * 5.0, seen("A", count), seen("B", count))
    for count in range(12):
        script.identity = replace(HERE, started_at=count + 2)
        script.look(60 + count * 1.9, seen("A", 20), seen("B", 20))
    assert [one.late_at for one in script.observer.sessions] == [(), ()]


def test_beat_that_another_identity_shows_is_not_late() -> None:
    """B3, B5: a failover delays every node's beats; who comes through it is clean since then."""
    script = watching()
    for now in (0.0, 1.0, 2.0):
        script.look(now, promotable("B", 1))
    script.identity = replace(HERE, timeline=2)

    script.look(2.8, promotable("B", 2))

    assert script.observer.sessions[0].late_at == ()
    assert script.observer.sessions[0].clean_since == 2.8


def test_members_that_are_all_late_stay() -> None:
    """B7: it is the database that is slow, and somebody has to run the tasks."""
    script = watching()
    now = 0.0
    for beat in range(6):
        for step in (0.0, 1.0, 2.0):
            now = beat * 2.8 + step
            assert script.look(now, seen("A", beat), seen("B", beat)) == ()
    assert [len(one.late_at) for one in script.observer.sessions] == [3, 3]


def test_late_member_goes_once_another_is_punctual_again() -> None:
    """B7, B9: the moment at which a late beat is forgiven wakes the observer up."""
    script = watching(times=replace(TIMES, late_max=1, late_within_s=20.0))

    def look(now: float, beat: int, beat_of_b: int) -> tuple[Decision, ...]:
        return script.look(now, seen("A", beat), seen("B", beat_of_b, liveness_s=9.0))

    for now in (0.0, 1.0, 2.0):
        look(now, 1, 1)
    look(2.8, 2, 2)
    for count in range(20):
        now = 2.8 + count
        assert look(now, 2 + count, 2 if now < 6.0 else 2 + count) == ()

    assert script.next_at(now) == 22.8
    assert to(Standing.REHAB, script.at(22.8)) == ["B"]


# --- becoming a Member --------------------------------------------------------------------------


def test_clean_node_becomes_a_member_after_its_time() -> None:
    """B8, H5: Rehab as well as Promotable, and not before."""
    script = watching()
    rehab = Standing.REHAB
    for now in range(10):
        decided = script.look(
            now, seen("A", now), promotable("B", now), seen("C", now, standing=rehab)
        )
        assert decided == ()

    decided = script.look(10, seen("A", 10), promotable("B", 10), seen("C", 10, standing=rehab))

    assert to(Standing.MEMBER, decided) == ["B", "C"]
    assert [one.before for one in decided if isinstance(one, ChangeStanding)] == [
        Standing.PROMOTABLE,
        Standing.REHAB,
    ]
    assert decided[0].reason == "beats of B on time for 10.0 s, and caught up"


def test_node_that_is_not_caught_up_does_not_become_a_member() -> None:
    """B8, H6"""
    script = watching()
    for now in range(30):
        assert script.look(now, seen("A", now), promotable("B", now, caught_up=False)) == ()
    assert to(Standing.MEMBER, script.look(30, seen("A", 30), promotable("B", 30))) == ["B"]


def test_late_beat_starts_the_clean_time_again() -> None:
    """B8"""
    script = watching()
    at = {}
    for tenth in range(0, 200, 5):
        now = tenth / 10
        beat = int(now) if now < 4 or now >= 7 else 3
        decided = script.look(now, seen("A", tenth), promotable("B", beat, liveness_s=9.0))
        at[now] = to(Standing.MEMBER, decided)

    assert next(now for now, nodes in at.items() if nodes) == 17.0


def test_gap_starts_the_clean_time_again() -> None:
    """B3, B8: what was not watched is not clean."""
    script = watching()
    for now in (*range(9), *range(12, 22)):
        assert script.look(now, seen("A", now), promotable("B", now)) == ()
    assert to(Standing.MEMBER, script.look(22, seen("A", 22), promotable("B", 22))) == ["B"]


def test_new_session_starts_the_clean_time_again() -> None:
    """B2"""
    script = watching()
    for now in range(15):
        session = "first" if now < 5 else "second"
        assert script.look(now, seen("A", now), promotable("B", now, session=session)) == ()
    decided = script.look(15, seen("A", 15), promotable("B", 15, session="second"))
    assert to(Standing.MEMBER, decided) == ["B"]


def test_new_observer_looks_for_its_grace_before_it_decides_about_standings() -> None:
    """B6, H10"""
    script = watching(times=replace(TIMES, to_member_s=1.0))
    for now in (0, 1, 2, 3, 4, 4.9):
        assert script.look(now, seen("A", int(now * 2)), promotable("B", int(now * 2))) == ()
    assert to(Standing.MEMBER, script.at(5.0)) == ["B"]


def test_group_without_a_member_gets_them_after_the_grace() -> None:
    """B8: nobody else is there; who is not caught up has to wait even so."""
    script = watching()
    nodes = [promotable("A"), promotable("B", caught_up=False), promotable("C")]
    for now in range(5):
        assert script.look(now, *(replace(one, beat=now) for one in nodes)) == ()

    decided = script.look(5, *(replace(one, beat=5) for one in nodes))

    assert to(Standing.MEMBER, decided) == ["A", "C"]
    assert decided[0].reason == "the group has no live Member, and A is caught up"


def test_silent_member_is_no_member_that_is_left() -> None:
    """B4, B8: one pass ends it, and makes its successors, sorted by node."""
    script = watching()
    for now in range(6):
        script.look(now, seen("B", now), promotable("A", now), promotable("C", now))
    for now in (6.0, 7.0, 7.9):
        assert (
            script.look(now, seen("B", 5), promotable("A", int(now)), promotable("C", int(now)))
            == ()
        )

    decided = script.look(8.0, seen("B", 5), promotable("A", 8), promotable("C", 8))

    assert [(type(one), one.node) for one in decided] == [
        (ChangeStanding, "A"),
        (EndSession, "B"),
        (ChangeStanding, "C"),
    ]


def test_node_that_is_late_just_now_is_no_successor() -> None:
    """B8"""
    script = watching(times=replace(TIMES, grace_s=0.0))
    for now in (0.0, 1.0, 2.0, 3.0):
        decided = script.look(now, promotable("A", int(now)), promotable("B", 1, liveness_s=9.0))
    assert to(Standing.MEMBER, decided) == ["A"]


def test_node_whose_late_beat_has_come_is_a_successor_again() -> None:
    """B8"""
    script = watching(times=replace(TIMES, grace_s=2.5))
    for now in (0.0, 1.0, 2.0):
        assert script.look(now, promotable("B", 1)) == ()

    assert to(Standing.MEMBER, script.look(2.8, promotable("B", 2))) == ["B"]
    assert script.observer.sessions[0].late_at == (2.8,)


# --- flapping -----------------------------------------------------------------------------------


class Group:
    """Nodes whose beats are late as drawn, and two observers that look at their standings.

    Each of the two decides in its turn, so that each has seen what the other has not.
    """

    def __init__(self, times: ObserverPolicy) -> None:
        self.times = times
        self.now = 0.0
        self.version = 1
        self.shown = {name: seen(name) for name in ("a", "b", "c")}
        self.silent_s = dict.fromkeys(self.shown, 0.0)
        self.late = dict.fromkeys(self.shown, 0)
        self.counted = dict.fromkeys(self.shown, False)
        self.observers = [watching(times=times), watching(times=times)]
        self.decided: list[ChangeStanding] = []

    def go_on(self, beating: frozenset[str], observer: int | None) -> None:
        """Let half a second pass: some nodes beat, and one observer decides, if any."""
        self.now += 0.5
        for name, one in self.shown.items():
            self.silent_s[name] += 0.5
            if self.silent_s[name] > 2.5 and not self.counted[name]:
                self.late[name] += 1
                self.counted[name] = True
            if name in beating or self.silent_s[name] > 2.7:
                self.shown[name] = replace(one, beat=one.beat + 1)
                self.silent_s[name], self.counted[name] = 0.0, False
        for number, script in enumerate(self.observers):
            decisions = script.look(self.now, *self.shown.values())
            if number == observer:
                self.carry_out(decisions)

    def carry_out(self, decisions: tuple[Decision, ...]) -> None:
        for one in decisions:
            if isinstance(one, ChangeStanding) and self.shown[one.node].standing is one.before:
                self.version += 1
                self.decided.append(one)
                self.shown[one.node] = replace(
                    self.shown[one.node], standing=one.after, standing_version=self.version
                )


STEPS = st.tuples(st.frozensets(st.sampled_from("abc")), st.sampled_from([None, 0, 0, 1, 1]))


@settings(max_examples=200)
@given(
    st.lists(STEPS, min_size=20, max_size=120),
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from([0.0, 1.0, 4.0]),
    st.sampled_from([3.0, 60.0, 1e6]),
    st.sampled_from([0.0, 3.0]),
)
def test_decisions_are_bounded_by_late_beats(
    steps: list[tuple[frozenset[str], int | None]],
    late_max: int,
    to_member_s: float,
    late_within_s: float,
    grace_s: float,
) -> None:
    """H10, B10: whatever the settings, and whichever of two observers decides when."""
    times = ObserverPolicy(
        late_max=late_max, to_member_s=to_member_s, late_within_s=late_within_s, grace_s=grace_s
    )
    group = Group(times)

    for beating, decider in steps:
        group.go_on(beating, decider)

    for name, late in group.late.items():
        to_rehab = [
            one for one in group.decided if one.node == name and one.after is Standing.REHAB
        ]
        assert len(to_rehab) <= (late // late_max if late_max else 0)
        assert sum(one.node == name for one in group.decided) <= 2 * len(to_rehab) + 1


def _never_decided(before: SessionSeen, seen: SessionSeen) -> bool:
    return False


def test_counting_late_beats_again_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """B10, broken on purpose: three late beats then lead to one Rehab after the other."""

    def rehabs() -> int:
        times = ObserverPolicy(late_max=3, to_member_s=1.0, late_within_s=1e6, grace_s=0.0)
        group = Group(times)
        group.go_on(frozenset("abc"), 0)
        for _ in range(3):
            for beating in (*(["bc"] * 5), "abc"):
                group.go_on(frozenset(beating), 0)
        for _ in range(40):
            group.go_on(frozenset("abc"), 0)
        return sum(one.after is Standing.REHAB for one in group.decided)

    assert rehabs() == 1
    monkeypatch.setattr(observer, "decided_since", _never_decided)
    assert rehabs() > 1

"""The observer: when it ends a session, and what holds whatever it is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import TimingError
from coordinator.protocol.group.observer import (
    decisions,
)
from coordinator.protocol.messages.group_record import Standing
from coordinator.protocol.messages.task_requests import (
    EndSession,
    SessionSeen,
)
from tests.unit.protocol.group.transcript import (
    GAP_MAX_S,
    HERE,
    INFINITE,
    TIMES,
    ended,
    promotable,
    seen,
    watching,
)

# --- silence ------------------------------------------------------------------------------------


def test_session_that_is_silent_for_its_own_interval_is_ended() -> None:
    """B1, B4, K6: with the beat that was seen, and the reason in words."""
    script = watching()
    for now in (0.0, 1.0, 2.0, 2.99):
        assert script.look(now, seen("A", int(now)), seen("B", 7)) == ()

    assert script.at(3.02) == (
        EndSession(
            node="B",
            session="s-B",
            beat=7,
            reason="no heartbeat of B for 3.02 s (livenessCheckInterval 3)",
        ),
    )


def test_interval_of_the_watched_node_counts() -> None:
    """B4: nodes with different settings are judged by their own."""
    script = watching()
    for now in range(10):
        assert ended(script.look(now, seen("A", now), seen("B", liveness_s=9.5))) == []
    assert ended(script.at(9.49)) == []
    assert ended(script.at(9.5)) == ["B"]


@pytest.mark.parametrize(
    "change",
    [{"beat": 8}, {"beat": 6}, {"session": "again"}],
    ids=["a beat", "a beat backwards", "another session"],
)
def test_any_change_restarts_the_wait(change: dict[str, object]) -> None:
    """B1: a database that was restored may show an older beat."""
    script = watching()
    script.look(0.0, seen("B", 7))
    script.look(1.5, seen("B", 7))

    script.look(2.9, seen("B", **{"beat": 7, **change}))  # type: ignore[arg-type]
    script.look(4.5, seen("B", **{"beat": 7, **change}))  # type: ignore[arg-type]

    assert ended(script.at(5.8)) == []
    assert ended(script.at(5.9)) == ["B"]


def test_another_identity_of_the_database_restarts_the_wait() -> None:
    """B1"""
    script = watching()
    script.look(0.0, seen("B"))
    script.look(1.5, seen("B"))
    script.identity = replace(HERE, timeline=2)
    script.look(2.9, seen("B"))
    script.look(4.5, seen("B"))

    assert ended(script.at(5.8)) == []
    assert ended(script.at(5.9)) == ["B"]


def test_gap_in_the_watching_restarts_the_wait() -> None:
    """B1: who did not look does not know what was missed."""
    script = watching()
    script.look(0.0, seen("B"))
    script.look(2.1, seen("B"))
    script.look(4.0, seen("B"))

    assert ended(script.at(5.0)) == []
    assert ended(script.at(5.1)) == ["B"]


def test_nothing_is_decided_from_an_old_look() -> None:
    """B1: an observer that was suspended wakes up and has to look first."""
    script = watching()
    script.look(0.0, seen("B"))
    script.look(1.9, seen("B"))

    assert ended(script.at(3.9)) == ["B"]
    assert script.at(4.0) == ()
    assert script.next_at(4.0) == INFINITE


def test_session_that_is_gone_from_the_answer_is_forgotten() -> None:
    """B2: somebody else has ended it, or it has left."""
    script = watching()
    script.look(0.0, seen("A"), seen("B"))
    script.look(1.5, seen("A", 2))
    script.look(2.9, seen("A", 3), seen("B"))

    assert ended(script.at(3.5)) == []


def test_new_observer_waits_a_whole_interval_of_its_own() -> None:
    """B1, B2: whatever the age of the beat that it finds."""
    script = watching(100.0)
    script.look(100.0, seen("B", age_s=60.0))
    script.look(101.5, seen("B", age_s=61.5))

    assert ended(script.at(102.9)) == []
    assert ended(script.at(103.0)) == ["B"]


def test_grace_does_not_delay_the_end_of_a_silent_session() -> None:
    """B6, H10"""
    script = watching(times=replace(TIMES, grace_s=1000.0))
    script.look(0.0, seen("B"))
    script.look(1.5, seen("B"))

    assert ended(script.at(3.0)) == ["B"]


# --- the observer itself ------------------------------------------------------------------------


def test_suspended_observer_decides_nothing() -> None:
    """B6, H10"""
    script = watching()
    script.look(0.0, seen("B"))
    script.look(1.5, seen("B"))

    assert decisions(script.observer, True, 3.0, TIMES) == ()
    assert decisions(script.observer, False, 3.0, TIMES) != ()


def test_two_observers_that_see_the_same_decide_the_same() -> None:
    """B9, H10: compare-and-set lets one of them do it; a later one waits for itself."""
    old, deputy, late = watching(), watching(), watching(2.0)
    for now in (0.0, 1.5, 2.9):
        old.look(now, seen("A", int(now)), seen("B"))
        deputy.look(now, seen("B"), seen("A", int(now)))
    late.look(2.9, seen("A", 2), seen("B"))

    assert old.at(3.0) == deputy.at(3.0) != ()
    assert late.at(3.0) == ()


def test_next_moment_is_when_silence_runs_out() -> None:
    """B9"""
    script = watching()
    script.look(0.0, seen("A", 1), seen("B", 1))
    assert script.next_at(0.0) == INFINITE  # not without looking again before

    script.look(1.5, seen("A", 2), seen("B", 1))

    assert script.next_at(1.5) == 3.0
    assert script.next_at(3.2) == 3.2


def test_next_moment_is_when_a_node_has_been_clean_long_enough() -> None:
    """B9"""
    script = watching()
    for now in range(10):
        script.look(now, seen("A", now), promotable("B", now))
    assert script.next_at(9.0) == 10.0


@pytest.mark.parametrize(
    "change",
    [{"to_member_s": -1.0}, {"grace_s": -0.1}, {"late_max": -1}, {"late_within_s": 0.0}],
)
def test_times_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(TimingError, match=next(iter(change))):
        replace(TIMES, **change)  # type: ignore[arg-type]


# --- whatever it sees ---------------------------------------------------------------------------

LOOKS = st.lists(
    st.tuples(
        st.floats(0.05, 3.0),  # since the last look
        st.lists(
            st.tuples(
                st.sampled_from("ABC"),
                st.sampled_from(["s", "s", "s", "t"]),
                st.integers(1, 3),
                st.sampled_from([3.0, 3.0, 6.0]),
                st.sampled_from(list(Standing)),
                st.booleans(),
            ),
            unique_by=lambda one: one[0],
        ),
        st.sampled_from([1, 1, 1, 1, 2]),
    ),
    max_size=40,
)


def sessions(shown: list[tuple[str, str, int, float, Standing, bool]]) -> list[SessionSeen]:
    return [
        seen(node, beat, session=session, liveness_s=wait, standing=standing, caught_up=ready)
        for node, session, beat, wait, standing, ready in shown
    ]


@given(LOOKS, st.floats(0.0, 4.0))
def test_session_that_showed_life_within_its_interval_is_never_ended(
    looks: list[tuple[float, list[tuple[str, str, int, float, Standing, bool]], int]], later: float
) -> None:
    """B1, B4: judged from the list of looks alone, beside the observer's own book-keeping."""
    script = watching()
    changed_at: dict[str, tuple[object, float]] = {}
    now = 0.0
    for pause, shown, timeline in looks:
        now += pause
        script.identity = replace(HERE, timeline=timeline)
        script.look(now, *sessions(shown))
        kept = {}
        for node, session, beat, wait, *_ in shown:
            sight = (timeline, session, beat)
            before = changed_at.get(node)
            whole = before is not None and before[0] == sight and pause <= GAP_MAX_S
            kept[node] = before if before is not None and whole else (sight, now)
            for decision in script.at(now + later):
                if decision.node == node and isinstance(decision, EndSession):
                    assert now + later - kept[node][1] >= wait
                    assert (decision.session, decision.beat) == (session, beat)
        changed_at = kept


@given(LOOKS, st.floats(0.0, 3.0))
def test_nothing_is_decided_before_the_next_moment(
    looks: list[tuple[float, list[tuple[str, str, int, float, Standing, bool]], int]], later: float
) -> None:
    """B9: the observer never wakes up too late."""
    script = watching(times=replace(TIMES, to_member_s=2.0, grace_s=3.0, late_max=1))
    now = 0.0
    for pause, shown, _ in looks:
        now += pause
        script.look(now, *sessions(shown))

    moment = script.next_at(now)

    assert moment >= now
    if now + later < moment:
        assert script.at(now + later) == ()


@given(LOOKS)
def test_one_decision_for_a_node_at_most_and_in_order(
    looks: list[tuple[float, list[tuple[str, str, int, float, Standing, bool]], int]],
) -> None:
    """B9"""
    script = watching(times=replace(TIMES, to_member_s=2.0, grace_s=0.0, late_max=1))
    now = 0.0
    for pause, shown, _ in looks:
        now += pause
        nodes = [one.node for one in script.look(now, *sessions(shown))]
        assert nodes == sorted(set(nodes))

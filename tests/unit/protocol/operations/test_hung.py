"""Watching claims and the own worker for what hangs (Q9, J2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.operations.claims import Host, Look, OpenSubtask, choose
from coordinator.protocol.operations.hung import (
    REPORTS_S,
    SIGNS_S,
    Claims,
    Hung,
    hung,
    lives,
    noted,
    observed,
)
from coordinator.protocol.operations.types import SubtaskState

HERE = Identity(system_identifier=1, timeline=1, started_at=1, branch="b")
LIMITS = {"rebuild": 100.0}


def claim(*, reports: int = 1, moves: int = 1, owner: str = "n1", version: int = 2) -> OpenSubtask:
    return OpenSubtask(
        id="s",
        operation="o",
        type="rebuild",
        plan=False,
        entity="1",
        state=SubtaskState.RUNNING,
        version=version,
        owner=owner,
        session="x",
        reports=reports,
        moves=moves,
    )


def watched(*seen: tuple[float, OpenSubtask], me: str = "n2") -> list[tuple[float, Hung]]:
    """Return when something hangs, after looks at these moments."""
    claims, found = Claims(), []
    for now, subtask in seen:
        look = Look(identity=HERE, any_open=True, open=(subtask,))
        claims = observed(claims, look, LIMITS, now)
        found += [(now, each) for each in hung(claims, look, LIMITS, me, now)]
    return found


def every(step_s: float, until_s: float, **more: object) -> list[tuple[float, OpenSubtask]]:
    return [
        (at * step_s, replace(claim(), **{key: act(at) for key, act in more.items()}))
        for at in range(int(until_s / step_s) + 1)
    ]


def test_a_claim_without_reports_hangs_after_its_time_and_no_sooner():
    (first, *_) = watched(*every(0.5, 60.0))

    assert first == (REPORTS_S, Hung(subtask=claim(), reports=1))


def test_a_claim_that_reports_the_same_figures_hangs_by_the_limit_of_its_type():
    found = watched(*every(0.5, 120.0, reports=lambda at: at))

    assert found[0][0] == 100.0
    assert (found[0][1].reports, found[0][1].moves) == (None, 1)


@pytest.mark.parametrize(
    "moving", [{"moves": lambda at: at // 50}, {"version": lambda at: at // 9}]
)
def test_a_claim_that_moves_or_is_another_one_does_not_hang(moving):
    assert watched(*every(0.5, 400.0, reports=lambda at: at, **moving)) == []


def test_its_own_claim_and_a_watch_with_a_gap_say_nothing():
    """A watcher that stood still does not know what it missed (O3)."""
    assert watched(*every(0.5, 60.0), me="n1") == []
    assert watched((0.0, claim()), (REPORTS_S + 1, claim())) == []


def test_a_type_without_a_limit_may_stand_still_as_long_as_it_reports():
    subtasks = every(0.5, 900.0, reports=lambda at: at, type=lambda _at: "tally")

    assert watched(*subtasks) == []


def test_the_node_on_which_it_hung_comes_last():
    hosts = tuple(Host(node=name, types=frozenset({"rebuild"})) for name in ("n1", "n2"))
    free = replace(claim(), state=SubtaskState.PENDING, owner=None, session=None, avoided="n1")

    assert choose("n1", {"rebuild"}, [free], hosts) is None
    assert choose("n2", {"rebuild"}, [free], hosts) == free
    assert choose("n1", {"rebuild"}, [free], hosts[:1]) == free


def test_figures_that_stand_still_are_no_sign_of_life_after_the_limit_of_their_type():
    """J2"""
    figures = noted(None, (1, 0, 5), 10.0)
    figures = noted(figures, (1, 0, 5), 109.0)

    assert lives(figures, 100.0, 109.9)
    assert not lives(figures, 100.0, 110.0)
    assert lives(noted(figures, (1, 0, 6), 110.0), 100.0, 110.0)


def test_a_type_without_a_limit_may_stand_still():
    """J2"""
    assert lives(noted(None, (0, 0, 0), 0.0), None, 1e6)


def test_another_node_takes_the_claim_before_the_own_node_kills_its_worker():
    """J1: only others remember on which node it hung."""
    assert REPORTS_S < SIGNS_S

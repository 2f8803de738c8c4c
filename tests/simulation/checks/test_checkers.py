"""The judges judge: hand-made bad histories are told, good ones are not."""

from __future__ import annotations

import random

from tests.simulation.checks.checkers import (
    falling_terms,
    overlapping,
    repeated_terms,
    stalled,
    ungranted,
    violations,
)
from tests.simulation.world.history import Granted, History, Ran


def ran(node: str, term: int, start: float, end: float | None, session: str = "") -> Ran:
    return Ran(node, session or f"s-{node}-{term}", term, term, start, end)


def good(seed: int = 0) -> History:
    """Return a history of handovers in which nothing is wrong."""
    rng = random.Random(seed)
    history = History(calm_from=50.0, calm_within_s=5.0, ended_at=60.0)
    now, term = 0.0, 0
    while now < 40.0:
        node, term = rng.choice("abc"), term + rng.randint(1, 3)
        start = now + rng.random()
        now = start + rng.uniform(0.1, 9.0)
        history.grants.append(Granted(start, node, f"s-{node}-{term}", term, 1))
        history.runs.append(ran(node, term, start, now))
    history.runs[-1].end = None
    return history


def test_good_histories_are_not_told() -> None:
    for seed in range(300):
        assert violations(good(seed)) == []


def test_two_nodes_at_once_are_told() -> None:
    assert overlapping([ran("a", 1, 0, 10), ran("b", 2, 9.9, 12)], 20)
    assert overlapping([ran("a", 1, 0, None), ran("b", 2, 9, 12)], 20)
    assert overlapping([ran("a", 1, 0, 10), ran("b", 2, 3, 4), ran("c", 3, 9, 12)], 20)
    assert not overlapping([ran("a", 1, 0, 10), ran("b", 2, 10, 12)], 20)


def test_two_runs_at_once_on_one_node_are_told() -> None:
    assert overlapping([ran("a", 1, 0, 10), ran("a", 2, 5, 12)], 20)


def test_an_overlap_behind_a_short_run_is_told() -> None:
    runs = [ran("a", 1, 0, 30), ran("b", 2, 31, 32), ran("c", 3, 29, 29.5)]
    assert overlapping(runs, 40)


def test_falling_and_repeated_terms_are_told() -> None:
    assert falling_terms([ran("a", 2, 0, 1), ran("b", 1, 2, 3)])
    assert falling_terms([ran("a", 2, 0, 1), ran("b", 2, 2, 3)])
    assert falling_terms([ran("a", 2, 0, 1, "s1"), ran("a", 2, 2, 3, "s2")])
    assert not falling_terms([ran("a", 2, 0, 1, "s1"), ran("a", 2, 2, 3, "s1")])
    assert falling_terms([ran("a", 2, 0, 1), ran("b", 3, 2, 3), ran("a", 2, 4, 5)])
    twice = [Granted(1.0, "a", "s", 5, 1), Granted(2.0, "b", "t", 5, 2)]
    assert repeated_terms(twice)


def test_a_run_without_a_grant_before_it_is_told() -> None:
    grant = Granted(5.0, "a", "s-a-1", 1, 1)
    assert ungranted([ran("a", 1, 6, 7)], []) != []
    assert ungranted([ran("a", 1, 4, 7)], [grant]) != []
    assert ungranted([ran("b", 1, 6, 7)], [grant]) != []
    assert ungranted([ran("a", 1, 6, 7, "another session")], [grant]) != []
    assert ungranted([ran("a", 1, 6, 7)], [grant]) == []


def test_nobody_running_after_the_healing_is_told() -> None:
    history = History(calm_from=10.0, calm_within_s=5.0, ended_at=20.0)
    assert stalled(history)
    history.runs = [ran("a", 1, 16.0, None)]
    assert stalled(history), "too late"
    history.runs = [ran("a", 1, 12.0, 17.0), ran("b", 2, 17.5, None)]
    assert stalled(history), "the holder did not stay"
    history.runs = [ran("a", 1, 12.0, None)]
    assert not stalled(history)


def test_every_mutation_of_a_good_history_is_told() -> None:
    for seed in range(200):
        rng = random.Random(f"mutate/{seed}")
        history = good(seed)
        if len(history.runs) < 3:
            continue
        place = rng.randrange(1, len(history.runs) - 1)
        run, before = history.runs[place], history.runs[place - 1]
        match rng.randrange(4):
            case 0:
                assert before.end is not None
                before.end = run.start + 0.01
            case 1:
                run.term = before.term
            case 2:
                history.grants.pop(place)
            case _:
                history.runs[-1].end = history.ended_at - 1.0
        assert violations(history), f"seed {seed}"

"""Terms are counted once, and from the start of the node on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coordinator.app.admin.status import Takeover
from coordinator.app.node.http.counting import Counted


def term(number: int, age_s: float, *, how: str = "takeover", group: str = "orders") -> Takeover:
    return Takeover(
        group=group,
        term=number,
        acquired_at=datetime(2026, 11, 20, tzinfo=UTC),
        age_s=age_s,
        ended_at=None,
        previous="a",
        node="b",
        how=how,
        reason=None,
        end_how=None,
        end_reason=None,
        gap_s=None if how == "first" else 6.0,
        detected_s=None,
    )


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_term_is_counted_once_however_often_it_is_read(clock):
    counted = Counted(clock)
    clock.now += 60.0
    counted.add([term(2, 30.0)])
    clock.now += 60.0
    counted.add([term(3, 10.0), term(2, 90.0)])

    assert counted.reasons == {"takeover": 2}
    assert sum(counted.gaps.counts) == 2
    assert counted.since_s() == 0.0


def test_a_term_that_began_before_the_node_is_not_counted(clock):
    counted = Counted(clock)
    clock.now += 60.0
    counted.add([term(2, 61.0), term(3, 59.0, how="release")])

    assert counted.reasons == {"release": 1}


def test_the_terms_of_each_token_are_counted_apart(clock):
    counted = Counted(clock)
    clock.now += 60.0
    counted.add([term(9, 5.0), term(1, 4.0, how="first", group="orders/_observer")])

    assert counted.reasons == {"takeover": 1, "first": 1}
    assert sum(counted.gaps.counts) == 1

"""Rules C1 to C3 on the real schedule in virtual time, and the same with a rule broken."""

from __future__ import annotations

from datetime import datetime

import pytest

from coordinator.errors import DatabaseUnreachableError
from coordinator.protocol.messages.schedule_claims import Claim
from coordinator.runtime.schedule.runner import Schedule
from tests.simulation.plans.schedules import Variant, WallClock, broken, story

SEEDS = range(40)


@pytest.mark.parametrize("catch_up", ["all", "once"])
def test_no_run_is_lost_doubled_or_of_the_future(catch_up: str) -> None:
    """C1, C2, C3: steps of wall clocks, deaths, outages within and beyond trust."""
    for seed in SEEDS:
        ledger = story(seed, Variant(), catch_up=catch_up)

        assert broken(ledger, complete=catch_up == "all") == [], f"seed {seed}"


class Dropping(Schedule):
    """Takes an outage for a decision: a slot that cannot be claimed at once is let go."""

    def _claim(self, slot: datetime, next_at: datetime | None, skipped: int) -> Claim | None:
        try:
            return self._time.claim(slot, next_at, skipped).claim
        except DatabaseUnreachableError:
            return None


PLANTED = {
    "the node's wall clock is trusted": (Variant(clock=WallClock), "late, and nothing was wrong"),
    "the server does not check a slot": (
        Variant(clock=WallClock, server_checks=False),
        "before the database's clock",
    ),
    "a slot is dropped at an outage": (Variant(schedule=Dropping), "slots vanished"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_found(name: str) -> None:
    variant, what = PLANTED[name]

    found = [
        line
        for seed in SEEDS
        for line in broken(story(seed, variant, catch_up="all"), complete=True)
    ]

    assert any(what in line for line in found), found

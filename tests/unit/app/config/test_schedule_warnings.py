"""Warnings when a schedule is defined whose moments have passed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coordinator.app.config.schedule_warnings import schedule_warnings
from coordinator.protocol.messages.schedule import Trigger

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAST, SOON, LATER = NOW.replace(hour=11), NOW.replace(hour=13), NOW.replace(day=5)


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({"at": PAST}, "has passed: it runs at once"),
        ({"at": PAST, "catch_up": "none"}, "has passed: it will never run"),
        ({"at": PAST, "misfire_grace_s": 60.0}, "has passed: it will never run"),
        ({"at": LATER, "closes_at": SOON}, "it will never run"),
        ({"at": SOON, "opens_at": LATER}, "it will never run"),
        ({"interval_s": 1.0, "closes_at": PAST}, "endTime 2026-05-04T11:00:00+00:00 has passed"),
        ({"cron": "0 0 1 6 *", "closes_at": LATER}, "not due before endTime"),
        ({"cron": "0 3 * * *", "opens_at": LATER.replace(hour=4), "closes_at": LATER}, "not due"),
    ],
)
def test_schedule_that_cannot_run_as_it_says_is_told(trigger: dict, said: str) -> None:
    (line,) = schedule_warnings(Trigger(**trigger), NOW)

    assert said in line


@pytest.mark.parametrize(
    "trigger",
    [
        {"at": SOON},
        {"interval_s": 1.0, "opens_at": PAST, "closes_at": SOON},
        {"cron": "0 3 * * *", "closes_at": LATER},
        {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
    ],
)
def test_schedule_that_will_run_is_not_talked_about(trigger: dict) -> None:
    assert schedule_warnings(Trigger(**trigger), NOW) == ()


def test_program_without_a_trigger_has_nothing_to_say() -> None:
    assert schedule_warnings(None, NOW) == ()

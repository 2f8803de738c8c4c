"""Warnings when a schedule is defined whose moments have passed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coordinator.app.config.schedule_warnings import schedule_warnings
from coordinator.app.config.settings import TriggerSettings

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAST, SOON, LATER = "2026-05-04T11:00:00Z", "2026-05-04T13:00:00Z", "2026-05-05T12:00:00+00:00"


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({"at": PAST}, "has passed: it runs at once"),
        ({"at": PAST, "catch_up": "none"}, "has passed: it will never run"),
        ({"at": PAST, "misfire_grace_s": 60.0}, "has passed: it will never run"),
        ({"at": LATER, "end_time": SOON}, "it will never run"),
        ({"at": SOON, "start_time": LATER}, "it will never run"),
        ({"interval_s": 1.0, "end_time": PAST}, "endTime 2026-05-04T11:00:00+00:00 has passed"),
        ({"cron": "0 0 1 6 *", "end_time": LATER}, "not due before endTime"),
        ({"cron": "0 3 * * *", "start_time": "2026-05-05T04:00:00Z", "end_time": LATER}, "not due"),
    ],
)
def test_schedule_that_cannot_run_as_it_says_is_told(trigger: dict, said: str) -> None:
    (line,) = schedule_warnings(TriggerSettings(**trigger), NOW)

    assert said in line


@pytest.mark.parametrize(
    "trigger",
    [
        {"at": SOON},
        {"interval_s": 1.0, "start_time": PAST, "end_time": SOON},
        {"cron": "0 3 * * *", "end_time": LATER},
        {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
    ],
)
def test_schedule_that_will_run_is_not_talked_about(trigger: dict) -> None:
    assert schedule_warnings(TriggerSettings(**trigger), NOW) == ()


def test_program_without_a_trigger_has_nothing_to_say() -> None:
    assert schedule_warnings(None, NOW) == ()

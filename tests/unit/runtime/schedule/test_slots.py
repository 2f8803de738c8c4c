"""W5: which slots a trigger has, and where a new holder begins among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from coordinator.protocol.messages.schedule import Trigger
from coordinator.runtime.schedule.calendar.cron import parse
from coordinator.runtime.schedule.calendar.slots import Slots
from coordinator.runtime.schedule.first_slot import CATCH_UP_MAX, ScheduleSeen, opening

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)  # a Monday
MINUTE = timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")


def times(**given: object) -> Trigger:
    return Trigger(**given)  # type: ignore[arg-type]


def seen(last: datetime | None = None, now: datetime = NOON, fired: int = 0) -> ScheduleSeen:
    return ScheduleSeen(fired_count=fired, last_fire_at=last, ended=False, now=now)


def some_slots(trigger: Trigger, start: datetime, count: int) -> list[datetime]:
    slots = Slots(trigger, start)
    slot = slots.at_or_after(start)
    found = []
    while slot is not None and len(found) < count:
        found.append(slot)
        slot = slots.after(slot)
    return found


def days(weekday: str, count: int = 7) -> list[str]:
    found = some_slots(times(cron=f"0 0 * * {weekday}"), NOON, count)
    return [slot.strftime("%a") for slot in found]


# --- where a fresh schedule begins ----------------------------------------------------------------


def test_interval_fires_at_once_on_a_fresh_schedule() -> None:
    assert opening(times(interval_s=60), seen()).first == NOON


def test_interval_fires_at_once_when_its_start_time_has_passed() -> None:
    begin = opening(times(interval_s=60, opens_at=NOON - 5.5 * MINUTE), seen())

    assert begin.first == NOON


def test_interval_waits_for_its_start_time() -> None:
    begin = opening(times(interval_s=60, opens_at=NOON + 5 * MINUTE), seen())

    assert begin.first == NOON + 5 * MINUTE
    assert begin.slots.after(begin.first) == NOON + 6 * MINUTE


def test_cron_waits_for_its_first_moment_after_the_start_time() -> None:
    begin = opening(times(cron="0 * * * *", opens_at=NOON + 90 * MINUTE), seen())

    assert begin.first == NOON + 120 * MINUTE


def test_one_moment_that_nobody_saw_is_made_up_for() -> None:
    assert opening(times(at=NOON - MINUTE), seen()).first == NOON - MINUTE


def test_one_moment_that_nobody_saw_is_let_go_without_catch_up() -> None:
    begin = opening(times(at=NOON - MINUTE, catch_up="none"), seen())

    assert begin.first is None
    assert "has passed" in begin.over


def test_one_moment_is_over_once_it_was_fired() -> None:
    begin = opening(times(at=NOON - MINUTE), seen(last=NOON - MINUTE, fired=1))

    assert begin.first is None


def test_one_moment_that_was_moved_fires_again() -> None:
    begin = opening(times(at=NOON + MINUTE), seen(last=NOON - MINUTE, fired=1))

    assert begin.first == NOON + MINUTE


# --- where a new holder goes on -------------------------------------------------------------------


def test_takeover_waits_out_the_interval_that_is_going_on() -> None:
    begin = opening(times(interval_s=60), seen(last=NOON - timedelta(seconds=10), fired=3))

    assert begin.first == NOON + timedelta(seconds=50)


@pytest.mark.parametrize(
    ("catch_up", "first"),
    [
        ("none", NOON + timedelta(seconds=30)),
        ("once", NOON - timedelta(seconds=30)),
        ("all", NOON - timedelta(seconds=210)),
    ],
)
def test_takeover_after_missed_intervals(catch_up: str, first: datetime) -> None:
    last = NOON - timedelta(seconds=270)

    begin = opening(times(interval_s=60, catch_up=catch_up), seen(last=last, fired=3))

    assert begin.first == first


@pytest.mark.parametrize(
    ("catch_up", "hour"),
    [("none", 13), ("once", 12), ("all", 9)],
)
def test_takeover_after_missed_cron_moments(catch_up: str, hour: int) -> None:
    last, now = NOON.replace(hour=8), NOON + 20 * MINUTE

    begin = opening(times(cron="0 * * * *", catch_up=catch_up), seen(last=last, now=now))

    assert begin.first == NOON.replace(hour=hour)


def test_latest_missed_slot_is_found_among_a_year_of_minutes() -> None:
    begin = opening(times(cron="* * * * *"), seen(last=NOON - timedelta(days=365)))

    assert begin.first == NOON


def test_latest_missed_slot_is_found_where_slots_are_uneven() -> None:
    # Only the 29th of February, seen from 2031.
    last, now = datetime(2020, 2, 29, tzinfo=UTC), datetime(2031, 7, 1, tzinfo=UTC)

    begin = opening(times(cron="0 0 29 2 *"), seen(last=last, now=now))

    assert begin.first == datetime(2028, 2, 29, tzinfo=UTC)


def test_catching_up_all_is_bounded() -> None:
    begin = opening(times(interval_s=1, catch_up="all"), seen(last=NOON - timedelta(days=30)))

    assert begin.first is not None
    assert CATCH_UP_MAX / 2 - 1 <= (NOON - begin.first).total_seconds() <= CATCH_UP_MAX


# --- where it ends --------------------------------------------------------------------------------


def test_end_time_is_the_last_moment_that_can_be_a_slot() -> None:
    found = some_slots(times(interval_s=60, closes_at=NOON + 2 * MINUTE), NOON, 10)

    assert found == [NOON, NOON + MINUTE, NOON + 2 * MINUTE]


def test_nothing_is_made_up_for_after_the_end_time() -> None:
    begin = opening(
        times(interval_s=60, closes_at=NOON - MINUTE, catch_up="all"),
        seen(last=NOON - 9 * MINUTE),
    )

    assert begin.first is None
    assert "endTime" in begin.over


def test_count_of_the_group_ends_the_schedule() -> None:
    begin = opening(times(interval_s=60, max_count=3), seen(last=NOON - MINUTE, fired=3))

    assert begin.first is None
    assert begin.over == "maxCount 3 is reached"


# --- cron as crontab(5) reads it ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("0", ["Sun"]),
        ("7", ["Sun"]),
        ("1-5", ["Tue", "Wed", "Thu", "Fri", "Mon"]),
        ("5-7", ["Fri", "Sat", "Sun"]),
        ("fri-sun", ["Fri", "Sat", "Sun"]),
        ("sun-tue", ["Tue", "Sun", "Mon"]),
        ("MON,3", ["Wed", "Mon"]),
        ("*/2", ["Tue", "Thu", "Sat", "Sun"]),
        ("1-5/2", ["Wed", "Fri", "Mon"]),
        ("6-0", ["Sat", "Sun"]),
    ],
)
def test_weekdays_are_counted_from_sunday(field: str, expected: list[str]) -> None:
    assert days(field, len(expected)) == expected


@pytest.mark.parametrize("field", ["8", "5-2", "montag", "1#2", "", "1-5/0", "mon tue"])
def test_weekday_that_cannot_be_read_is_refused(field: str) -> None:
    with pytest.raises(ValueError):
        parse(f"0 0 * * {field}")


def test_day_of_month_and_day_of_week_join_by_or() -> None:
    found = some_slots(times(cron="0 0 13 * fri"), NOON, 4)

    assert [slot.strftime("%a %d") for slot in found] == ["Fri 08", "Wed 13", "Fri 15", "Fri 22"]


def test_daily_run_happens_once_in_the_night_without_its_hour() -> None:
    daily = times(cron="30 2 * * *", timezone="Europe/Berlin")

    found = some_slots(daily, datetime(2026, 3, 28, 12, tzinfo=UTC), 3)

    local = [slot.astimezone(BERLIN).strftime("%d %H:%M") for slot in found]
    assert local == ["29 03:00", "30 02:30", "31 02:30"]


def test_daily_run_happens_once_in_the_night_with_its_hour_twice() -> None:
    daily = times(cron="30 2 * * *", timezone="Europe/Berlin")

    found = some_slots(daily, datetime(2026, 10, 24, 12, tzinfo=UTC), 3)

    assert [slot.strftime("%d %H:%M") for slot in found] == ["25 00:30", "26 01:30", "27 01:30"]


def test_steps_of_the_clock_go_on_through_the_hour_that_comes_twice() -> None:
    steps = times(cron="*/30 * * * *", timezone="Europe/Berlin")

    found = some_slots(steps, datetime(2026, 10, 24, 23, 45, tzinfo=UTC), 6)

    assert found == [found[0] + timedelta(minutes=30 * k) for k in range(6)]

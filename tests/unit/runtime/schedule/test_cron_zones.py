"""Cron lines where a zone changes its offset, beside a walk over every minute by zoneinfo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.runtime.schedule.calendar.cron import CronSlots, NeverDueError, parse
from tests.support.zone_walk import changes, walk

#: Gaps at 0, 1, 2, 3 and 24 o'clock, of half an hour to two hours, and permanent changes.
ZONES = (
    *("Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe"),
    *("Africa/Cairo", "Asia/Beirut", "Antarctica/Troll", "America/Havana", "Africa/Casablanca"),
    *("Asia/Almaty", "America/Asuncion", "Asia/Tehran", "Pacific/Norfolk", "America/Nuuk"),
)
LINES = (
    *("0 0 * * *", "30 0 * * *", "5 0 * * 1", "0 0 1 * *", "30 2 * * *", "0,15,45 1 * * *"),
    *("*/20 2 * * *", "15 * * * *", "* * * * *", "*/7 */2 * * *", "59 23 * * *", "10 3 29 2,3 *"),
    *("30 1,2,3 * 3-11 0", "0 */6 * * *", "17 23,0 * * 5-7", "45 2 13 * 5", "0 12 * * *"),
)
AROUND = timedelta(hours=30)


def slots(line: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    every = CronSlots(parse(line), ZoneInfo(zone))
    found, slot = [], every.after(begin - timedelta(microseconds=1))
    while slot is not None and slot < end:
        found.append(slot)
        slot = every.after(slot)
    assert every.count(begin - timedelta(seconds=1), end - timedelta(seconds=1)) == len(found)
    return found


def agrees(line: str, zone: str, begin: datetime, end: datetime) -> None:
    assert slots(line, zone, begin, end) == walk(line, zone, begin, end), (line, zone, begin)


@pytest.mark.parametrize("zone", ZONES)
def test_line_agrees_with_a_walk_around_changes_of_the_offset(zone: str) -> None:
    """Each kind of change of the zone once, forward and back, early and late in the years."""
    kinds = {}
    for change in changes(zone):
        local = change.astimezone(ZoneInfo(zone))
        before = (change - timedelta(minutes=1)).astimezone(ZoneInfo(zone))
        kinds[local.utcoffset(), before.utcoffset(), local.time()] = change
    assert kinds

    for change in kinds.values():
        for line in LINES:
            agrees(line, zone, change - AROUND, change + AROUND)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_line_agrees_with_a_walk_in_every_zone_and_year() -> None:
    """Every change of every IANA zone from 2020 to 2035; zones that share one are walked once."""
    seen = set()
    for zone in sorted(available_timezones()):
        where = ZoneInfo(zone)
        for change in changes(zone):
            before = (change - timedelta(minutes=1)).astimezone(where).utcoffset()
            kind = change, before, change.astimezone(where).utcoffset()
            if kind not in seen:
                seen.add(kind)
                for line in LINES:
                    agrees(line, zone, change - AROUND, change + AROUND)
    assert len(seen) > 500


def number(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    spans = span.map(lambda ends: f"{ends[0]}-{ends[1]}")
    steps = st.tuples(st.one_of(st.just("*"), spans), st.integers(1, high)).map(
        lambda it: f"{it[0]}/{it[1]}"
    )
    one = st.one_of(number(low, high), spans, steps)
    return st.one_of(st.just("*"), one, st.lists(one, min_size=2, max_size=3).map(",".join))


CRON = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)


@given(line=CRON, zone=st.sampled_from(ZONES), data=st.data())
@settings(max_examples=60)
def test_any_line_agrees_with_a_walk(line: str, zone: str, data: st.DataObject) -> None:
    change = data.draw(st.sampled_from(changes(zone)))
    try:
        agrees(line, zone, change - AROUND, change + AROUND)
    except NeverDueError:
        assert walk(line, zone, change - AROUND, change + AROUND) == []


@pytest.mark.parametrize(
    ("line", "zone", "day", "local"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", ["29 03:00"]),
        ("0 0 * * *", "Africa/Cairo", "2026-04-24", ["24 01:00"]),
        ("*/15 2 * * *", "Europe/Berlin", "2026-03-29", ["29 03:00"]),
        ("30 */2 * * *", "Europe/Berlin", "2026-03-29", ["29 00:30", "29 03:00", "29 04:30"]),
        ("30 * * * *", "Europe/Berlin", "2026-03-29", ["29 00:30", "29 01:30", "29 03:30"]),
        ("15 * * * *", "Australia/Lord_Howe", "2026-10-04", ["04 00:15", "04 01:15", "04 02:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["25 02:30"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25", ["25 02:00", "25 02:30"] * 2),
    ],
)
def test_examples_of_the_rule(line: str, zone: str, day: str, local: list[str]) -> None:
    """docs/schedules.md has these."""
    begin = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    found = slots(line, zone, begin, begin + timedelta(hours=20))

    assert [slot.astimezone(ZoneInfo(zone)).strftime("%d %H:%M") for slot in found][
        : len(local)
    ] == local


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *"])
def test_line_that_no_day_fits_is_never_due(line: str) -> None:
    with pytest.raises(NeverDueError):
        parse(line)


@pytest.mark.parametrize("line", ["0 0 29 2 *", "0 0 29 2 */7", "0 0 30 2 1", "0 0 last 2 *"])
def test_rare_line_is_not_never_due(line: str) -> None:
    assert CronSlots(parse(line), UTC).after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@Monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_nickname_is_its_line(name: str, line: str) -> None:
    assert parse(name) == parse(line)


@pytest.mark.parametrize(
    "line",
    [
        *("", "* * * *", "@reboot", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *"),
        *("*/0 * * * *", "1-70 * * * *", "5-1 * * * *", "*-5 * * * *", "a * * * *"),
        *("1, * * * *", "* * 2-last * *"),
    ],
)
def test_line_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"cron line|is no|ends before"):
        parse(line)

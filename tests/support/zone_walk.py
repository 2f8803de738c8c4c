"""Find the slots of a cron line by walking over every minute: slow, and independent of cron.py.

It shares nothing with the code under test but the rule of docs/schedules.md: zoneinfo says which
local minutes there are, and each field of a line is read by a few lines of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)

Due = tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[int], frozenset[int]]


def field(text: str, low: int, high: int) -> frozenset[int]:
    """Read numbers, ranges, lists and steps; names are not needed here."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            first, last = str(low), str(high)
        end = int(last or (high if step else first))
        found |= set(range(int(first), end + 1, int(step or 1)))
    return frozenset(found)


@cache
def fields(line: str) -> Due:
    minute, hour, day, month, week = line.split()
    return (
        field(minute, 0, 59),
        field(hour, 0, 23),
        field(day, 1, 31),
        field(month, 1, 12),
        frozenset(value % 7 for value in field(week, 0, 6 if week.startswith("*") else 7)),
    )


def fits(line: str, local: datetime) -> bool:
    minutes, hours, days, months, weekdays = fields(line)
    if local.minute not in minutes or local.hour not in hours or local.month not in months:
        return False
    by_month, by_week = local.day in days, local.isoweekday() % 7 in weekdays
    _, _, day, _, week = line.split()
    if day.startswith("*") or week.startswith("*"):
        return by_month and by_week
    return by_month or by_week


@cache
def minutes_of(zone: str, begin: datetime, end: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Return each minute from begin to end, and what the local clock shows in it."""
    where = ZoneInfo(zone)
    count = (end - begin) // MINUTE
    return tuple((m := begin + k * MINUTE, m.astimezone(where)) for k in range(count))


def walk(line: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Return the minutes in which a line is due."""
    minute, hour = line.split()[:2]
    every_clock = minute.startswith("*") or hour.startswith("*")
    every_hour = len(fields(line)[1]) == 24
    found = []
    before: datetime | None = None
    for moment, local in minutes_of(zone, begin, end):
        naive = local.replace(tzinfo=None, fold=0)
        due = fits(line, naive) and (every_clock or not local.fold)
        if before is not None and naive - before > MINUTE:
            due = due or any(missing(line, before + MINUTE, naive, every_hour=every_hour))
        before = naive
        if due:
            found.append(moment)
    return found


def missing(line: str, first: datetime, end: datetime, *, every_hour: bool) -> Iterator[bool]:
    """Tell for each minute that the clocks go over whether the line would have been due in it."""
    minute = first
    while minute < end:
        hour = minute.replace(minute=0)
        whole = first <= hour and hour + HOUR <= end
        yield fits(line, minute) and not (every_hour and whole)
        minute += MINUTE


def changes(zone: str, begin: datetime = FIRST, end: datetime = LAST) -> list[datetime]:
    """Return the minutes of the changes of a zone's offset."""
    where, found = ZoneInfo(zone), []
    step = timedelta(hours=12)
    moment, offset = begin, begin.astimezone(where).utcoffset()
    while moment < end:
        following = moment + step
        if following.astimezone(where).utcoffset() != offset:
            low, high = moment, following
            while high - low > MINUTE:
                middle = low + (high - low) // 2
                middle = middle.replace(second=0, microsecond=0)
                same = middle.astimezone(where).utcoffset() == offset
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
            offset = following.astimezone(where).utcoffset()
        moment = following
    return found

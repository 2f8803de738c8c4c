"""Cron lines: five fields as in crontab(5), and the moments at which a line is due.

A line is due by the local time of its zone, which is taken from zoneinfo. Where the zone changes
its offset, these rules apply (docs/schedules.md):

1. A minute that does not exist, because the clocks go forward over it, is due at the end of the
   gap; all such minutes of one gap make one run. A line whose hour field allows every hour has no
   run for an hour that is missing as a whole: that hour does not exist.
2. A minute that exists twice, because the clocks go back over it, is due the first time only. A
   line whose minute or hour field begins with "*" follows the clock, and is due both times.

Nothing here depends on the present moment. All results are in UTC.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LAST_DAY = ("l", "last")
_PART = re.compile(r"(\*|[a-z]+|\d+)(?:-([a-z]+|\d+))?(?:/(\d+))?")
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: The rarest line that is ever due, 29 February on one weekday, waits up to 40 years.
_YEARS_MAX = 41
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
#: Number of days whose slots are cached: a search needs the same days again and again.
_DAYS_KEPT = 8


class NeverDueError(ValueError):
    """No day of the calendar fits the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronLine:
    """The five fields, parsed.

    either_day:  a day of the month and a day of the week are given, and either is enough.
    last_day:    the last day of each month is due in addition to `days`.
    every_clock: a minute that exists twice is due both times.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  #: 0 is Sunday
    either_day: bool
    last_day: bool
    every_clock: bool

    @property
    def every_hour(self) -> bool:
        """True when the hour field excludes nothing."""
        return len(self.hours) == 24

    def due_on(self, day: date) -> bool:
        """Say whether the line is due on a day of the calendar."""
        if day.month not in self.months:
            return False
        by_month = day.day in self.days or (
            self.last_day and day.day == monthrange(day.year, day.month)[1]
        )
        by_week = day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week

    def day_from(self, day: date) -> date | None:
        """Return the first day, from `day` on, on which the line is due; None when it never is."""
        last = date(min(day.year + _YEARS_MAX, date.max.year - 1), 12, 31)
        while day <= last:
            if day.month not in self.months:
                day = (day.replace(day=1) + 32 * _DAY).replace(day=1)
            elif self.due_on(day):
                return day
            else:
                day += _DAY
        return None


def parse(text: str) -> CronLine:
    """Parse a cron line, or a nickname such as "@daily".

    Errors: ValueError names the field that cannot be read; NeverDueError when no day ever fits.
    """
    fields = NICKNAMES.get(text.strip().lower(), text).lower().split()
    if len(fields) == 1 and fields[0].startswith("@"):
        raise ValueError(f"{fields[0]!r} is none of {', '.join(sorted(NICKNAMES))}")
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields, but a cron line has 5")
    minute, hour, day, month, weekday = fields
    parts = day.split(",")
    last_day = any(part in _LAST_DAY for part in parts)
    days = [part for part in parts if part not in _LAST_DAY]
    line = CronLine(
        minutes=tuple(sorted(_values("minute", minute, 0, 59))),
        hours=tuple(sorted(_values("hour", hour, 0, 23))),
        days=_values("day of the month", ",".join(days), 1, 31) if days else frozenset(),
        months=_values("month", month, 1, 12, _MONTHS),
        weekdays=frozenset(value % 7 for value in _values("day of the week", weekday, 0, 7, _DAYS)),
        either_day=not day.startswith("*") and not weekday.startswith("*"),
        last_day=last_day,
        every_clock=minute.startswith("*") or hour.startswith("*"),
    )
    if line.day_from(date(2000, 1, 1)) is None:
        raise NeverDueError(f"no month of {month!r} has a day {day!r}")
    return line


def _values(
    name: str, field: str, low: int, high: int, names: Sequence[str] = ()
) -> frozenset[int]:
    """Return the values that a field allows."""
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no {name}; write {low}-{high}, *, a list or a step")
        first, last, step = match.groups()
        if step is not None and not 1 <= int(step) <= high:
            raise ValueError(f"{part!r} is no {name}: a step is from 1 to {high}")
        if first == "*":
            if last is not None:
                raise ValueError(f"{part!r} is no {name}: * has no end")
            # Sunday counts once, or steps would begin anew with it.
            begin, end = low, 6 if high == 7 else high
        else:
            begin = _number(name, first, low, high, names)
            end = begin if step is None else (6 if high == 7 else high)
            if last is not None:
                end = _number(name, last, low, high, names)
                # "fri-sun" and "6-0" mean the Sunday that follows.
                end = 7 if high == 7 and end == 0 < begin else end
        if end < begin:
            raise ValueError(f"{part!r} is no {name}: it ends before it begins")
        found |= set(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _number(name: str, text: str, low: int, high: int, names: Sequence[str]) -> int:
    if text in names:
        return names.index(text) + (1 if low == 1 else 0)
    if not text.isdigit() or not low <= int(text) <= high:
        example = f", or {names[0]} to {names[-1]}" if names else ""
        raise ValueError(f"{text!r} is no {name}; write {low}-{high}{example}")
    return int(text)


def zone_of(name: str) -> tzinfo:
    """Return the zone of a cron line.

    Errors: KeyError or ValueError where this machine does not know it.
    """
    return UTC if name == "UTC" else ZoneInfo(name)


# --- moments --------------------------------------------------------------------------------------


class CronSlots:
    """The moments at which a line is due in a zone."""

    def __init__(self, line: CronLine, zone: tzinfo) -> None:
        self._line, self._zone = line, zone
        self._kept: dict[date, tuple[datetime, ...]] = {}

    def after(self, moment: datetime) -> datetime | None:
        """Return the first slot later than `moment`; None when there is none any more."""
        day = self._line.day_from(moment.astimezone(self._zone).date() - _DAY)
        while day is not None:
            slots = self._of(day)
            if slots and slots[-1] > moment:
                found = slots[bisect_right(slots, moment)]
                # Where the clocks go back over midnight, the next day may have begun before.
                following = self._of(day + _DAY) if self._line.due_on(day + _DAY) else ()
                index = bisect_right(following, moment)
                return min((found, *following[index : index + 1]))
            day = self._line.day_from(day + _DAY)
        return None

    def count(self, after: datetime, until: datetime) -> int:
        """Count the slots later than `after` and not later than `until`."""
        last = until.astimezone(self._zone).date() + _DAY
        day = self._line.day_from(after.astimezone(self._zone).date() - _DAY)
        total = 0
        seen: set[datetime] = set()  # of the day before: an end of a gap may belong to two days
        while day is not None and day <= last:
            slots = self._of(day)
            total += bisect_right(slots, until) - bisect_right(slots, after)
            total -= sum(after < slot <= until for slot in slots if slot in seen)
            seen = set(slots[-1:])
            day = self._line.day_from(day + _DAY)
        return total

    def _of(self, day: date) -> tuple[datetime, ...]:
        """Return the slots of a day of the calendar, in order."""
        found = self._kept.get(day)
        if found is None:
            found = slots_of(self._line, day, self._zone)
            if len(self._kept) >= _DAYS_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[day] = found
        return found


def slots_of(line: CronLine, day: date, zone: tzinfo) -> tuple[datetime, ...]:
    """Return the moments at which a line is due on a day of the calendar, which it is due on."""
    local = [
        datetime.combine(day, time(hour, minute)) for hour in line.hours for minute in line.minutes
    ]
    looked_at = [datetime.combine(day, time(hour)) for hour in range(24)] + local[-1:]
    offsets = {_offset(moment, zone, fold) for moment in looked_at for fold in (0, 1)}
    if len(offsets) == 1:
        (offset,) = offsets
        return tuple((moment - offset).replace(tzinfo=UTC) for moment in local)
    return tuple(sorted({slot for moment in local for slot in _moments(line, moment, zone)}))


def _offset(local: datetime, zone: tzinfo, fold: int) -> timedelta:
    offset = zone.utcoffset(local.replace(tzinfo=zone, fold=fold))
    assert offset is not None, "a time zone has an offset at every moment"
    return offset


def _moments(line: CronLine, local: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """Return when a minute of the local clock is due: never, once or twice."""
    before, after = _offset(local, zone, 0), _offset(local, zone, 1)
    first = (local - before).replace(tzinfo=UTC)
    if before == after:
        return (first,)
    second = (local - after).replace(tzinfo=UTC)
    if before > after:
        return (first, second) if line.every_clock else (first,)
    change = _change(second, first, zone)
    begins, ends = (change.replace(tzinfo=None) + offset for offset in (before, after))
    hour = local.replace(minute=0)
    if line.every_hour and begins <= hour and hour + timedelta(hours=1) <= ends:
        return ()
    return (change,)


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the first second of the offset that is in force at `after`.

    Bound: the span, hours at most, is halved each time, down to one second.
    """
    offset = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle <= before:
            break
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after

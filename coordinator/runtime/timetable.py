"""Slots: the moments at which a timetable is due, and where a new holder begins among them.

APScheduler's triggers do the calendar. What they do not do as a user of crontab(5) expects is done
here: Sunday is 0 or 7, a day of the month and a day of the week join by "or", and a job of one
fixed hour runs once in the night in which that hour comes twice.

All moments are aware and read on the database's clock, so that every node means the same by them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from coordinator.protocol.schedule import CatchUp

#: A new holder makes up for at most this many slots: more would keep it from the present for long,
#: and the list of them is made in one go.
CATCH_UP_MAX = 1000
_TICK = timedelta(microseconds=1)
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY_RANGE = re.compile(r"(\*|[0-7](?:-[0-7])?)(?:/([1-7]))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When runs are due; exactly one of interval_s, cron and at is set."""

    interval_s: float | None = None
    cron: str | None = None  #: five fields, read as crontab(5) reads them, in `timezone`
    at: datetime | None = None
    max_count: int | None = None  #: runs of the whole group together, over all terms
    opens_at: datetime | None = None
    closes_at: datetime | None = None  #: the last moment that can be a slot
    timezone: tzinfo
    catch_up: CatchUp = "once"
    misfire_grace_s: float | None = None  #: None: a late run is still made

    def __post_init__(self) -> None:
        kinds = [it for it in (self.interval_s, self.cron, self.at) if it is not None]
        assert len(kinds) == 1, "a timetable has an interval, cron fields or one moment"
        assert self.interval_s is None or self.interval_s > 0, "an interval is above 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSeen:
    """The group's record of its schedule, and the database's clock as it was read."""

    fired_count: int
    last_fire_at: datetime | None
    ended: bool
    now: datetime


class Slots:
    """All slots of a timetable; `anchor` is the moment that an interval is counted from."""

    def __init__(self, timetable: Timetable, anchor: datetime) -> None:
        self._timetable = timetable
        self._triggers = _triggers(timetable, anchor)
        self._once_a_night = timetable.cron is not None and _fixed_hour(timetable.cron)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the first slot that is not before `moment`; None when there is none any more."""
        opens_at = self._timetable.opens_at
        start = moment if opens_at is None else max(moment, opens_at)
        found = self._first(None, start)
        return None if found is None or found < start else found

    def after(self, slot: datetime) -> datetime | None:
        """Return the slot that follows `slot`; None when it was the last one."""
        return self._first(slot, slot + _TICK)

    def latest(self, first: datetime, now: datetime) -> datetime:
        """Return the last slot that is not after `now`; `first` is an earlier one.

        Bound: the span is halved each time, down to one microsecond.
        """
        low, high = first, now
        while (following := self.after(low)) is not None and following <= now:
            middle = low + (high - low) / 2
            found = self.at_or_after(max(middle, low + _TICK))
            if found is not None and found <= now:
                low = found
            else:
                high, low = middle, following
        return low

    def more_than(self, limit: int, first: datetime, now: datetime) -> bool:
        """Tell whether more than `limit` slots lie from `first`, which is one, to `now`."""
        slot = first
        for _ in range(limit):
            following = self.after(slot)
            if following is None or following > now:
                return False
            slot = following
        return True

    def _first(self, previous: datetime | None, moment: datetime) -> datetime | None:
        found = [
            slot
            for trigger in self._triggers
            if (slot := self._next(trigger, previous, moment)) is not None
        ]
        closes_at = self._timetable.closes_at
        if not found or (closes_at is not None and min(found) > closes_at):
            return None
        return min(found)

    def _next(
        self, trigger: BaseTrigger, previous: datetime | None, moment: datetime
    ) -> datetime | None:
        slot: datetime | None = trigger.get_next_fire_time(previous, moment)
        while slot is not None:
            slot = slot.astimezone(UTC)
            if not self._once_a_night or not slot.astimezone(self._timetable.timezone).fold:
                return slot
            slot = trigger.get_next_fire_time(slot, slot + _TICK)
        return None


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a holder begins: its first slot, or why there is none."""

    slots: Slots
    first: datetime | None
    over: str = ""


def opening(timetable: Timetable, seen: ScheduleSeen) -> Opening:
    """Decide at which slot a holder begins that finds this record of the group."""
    last, now = seen.last_fire_at, seen.now
    opens_at = now if timetable.opens_at is None else max(now, timetable.opens_at)
    slots = Slots(timetable, last or opens_at)
    if timetable.max_count is not None and seen.fired_count >= timetable.max_count:
        return Opening(slots, None, f"maxCount {timetable.max_count} is reached")
    if timetable.closes_at is not None and now > timetable.closes_at:
        return Opening(slots, None, f"endTime {timetable.closes_at.isoformat()} has passed")
    first = _first_slot(timetable, slots, last, now)
    return Opening(slots, first, "" if first is not None else why_over(timetable))


def why_over(timetable: Timetable) -> str:
    """Say why no slot is left."""
    if timetable.at is not None:
        return f"its one moment {timetable.at.isoformat()} has passed"
    if timetable.closes_at is not None:
        return f"no run is left before endTime {timetable.closes_at.isoformat()}"
    return "no run is left"


def _first_slot(
    timetable: Timetable, slots: Slots, last: datetime | None, now: datetime
) -> datetime | None:
    if last is not None:
        first = (
            slots.at_or_after(last + _TICK)
            if timetable.interval_s is None
            else _fit(timetable, slots.after(last))
        )
    else:
        # Nothing has ever run. Only the one moment of `at` can have been missed.
        first = slots.at_or_after(now if timetable.at is None else timetable.at)
    if first is None or first > now:
        return first
    match timetable.catch_up:
        case "none":
            return first if last is None and first == now else slots.at_or_after(now)
        case "once":
            return slots.latest(first, now)
        case "all":
            # The oldest half is let go until the rest can be made up for.
            while slots.more_than(CATCH_UP_MAX, first, now):
                newer = slots.at_or_after(first + (now - first) / 2)
                assert newer is not None, "a slot lies at or before now"
                first = newer
            return first


def _fit(timetable: Timetable, slot: datetime | None) -> datetime | None:
    """Return an interval's slot, no earlier than a startTime that was set since the last run."""
    if slot is None or timetable.opens_at is None:
        return slot
    return max(slot, timetable.opens_at)


def _triggers(timetable: Timetable, anchor: datetime) -> Sequence[BaseTrigger]:
    if timetable.interval_s is not None:
        return (IntervalTrigger(seconds=timetable.interval_s, start_date=anchor, timezone=UTC),)
    if timetable.at is not None:
        return (DateTrigger(timetable.at, timezone=UTC),)
    assert timetable.cron is not None, "a timetable has an interval, cron fields or one moment"
    return cron_triggers(timetable.cron, timetable.timezone)


def cron_triggers(text: str, timezone: tzinfo) -> tuple[CronTrigger, ...]:
    """Return triggers that are due together when five cron fields say so.

    Errors: ValueError names the field that cannot be read.
    """
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields, but a cron line has 5")
    minute, hour, day, month, weekday = fields
    weekday = _weekdays(weekday)
    pairs = [(day, weekday)]
    if not day.startswith("*") and not weekday.startswith("*"):
        pairs = [(day, "*"), ("*", weekday)]
    return tuple(
        CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=week, timezone=timezone
        )
        for day, week in pairs
    )


def _weekdays(field: str) -> str:
    """Return the weekdays of a cron field by name; APScheduler would count them from Monday."""
    if field == "*":
        return field
    found: set[str] = set()
    for part in field.lower().split(","):
        numbers = re.sub("|".join(_DAYS), lambda day: str(_DAYS.index(day[0])), part)
        match = _DAY_RANGE.fullmatch(numbers)
        if match is None:
            raise ValueError(f"{part!r} is no day of the week; write 0-7, or sun to sat")
        first, _, last = match[1].replace("*", "0-6").partition("-")
        step = int(match[2] or 1)
        end = int(last or (6 if match[2] else first))
        # "fri-sun" and "6-0" mean the Sunday that follows.
        end = 7 if end == 0 < int(first) else end
        if end < int(first):
            raise ValueError(f"{part!r} ends before it begins")
        found |= {_DAYS[day % 7] for day in range(int(first), end + 1, step)}
    return ",".join(day for day in _DAYS if day in found)


def _fixed_hour(text: str) -> bool:
    """Tell whether a cron line means moments of the day, not steps of the clock."""
    minute, hour = text.split()[:2]
    return not minute.startswith("*") and not hour.startswith("*")

"""Slots: the moments at which a timetable is due.

APScheduler's triggers do intervals and single moments; cron lines are done by cron.py, because
CronTrigger loses runs where a zone changes its offset.

All moments are aware and read on the database's clock, so that every node means the same by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from coordinator.protocol.messages.schedule_claims import CatchUp
from coordinator.runtime.schedule.calendar import cron

#: The step between two moments of the database.
TICK = timedelta(microseconds=1)
#: By so much less than the shortest interval the sums of many intervals are wrong.
_ROUNDED_S = 0.001


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


class Slots:
    """All slots of a timetable; `anchor` is the moment that an interval is counted from."""

    def __init__(self, timetable: Timetable, anchor: datetime) -> None:
        self._timetable, self._anchor = timetable, anchor
        self._trigger = _trigger(timetable, anchor)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the first slot that is not before `moment`; None when there is none any more."""
        opens_at = self._timetable.opens_at
        start = moment if opens_at is None else max(moment, opens_at)
        found = self._next(None, start)
        return None if found is None or found < start else found

    def after(self, slot: datetime) -> datetime | None:
        """Return the slot that follows `slot`; None when it was the last one."""
        return self._next(slot, slot + TICK)

    def latest(self, first: datetime, now: datetime) -> datetime:
        """Return the last slot that is not after `now`; `first` is an earlier one.

        Bound: the span is halved each time, down to one microsecond.
        """
        low, high = first, now
        while (following := self.after(low)) is not None and following <= now:
            middle = low + (high - low) / 2
            found = self.at_or_after(max(middle, low + TICK))
            if found is not None and found <= now:
                low = found
            else:
                high, low = middle, following
        return low

    def count(self, after: datetime, until: datetime) -> int:
        """Count the slots later than `after` and not later than `until`.

        after: a slot, or one interval before the first of them.
        """
        times = self._timetable
        if times.closes_at is not None:
            until = min(until, times.closes_at)
        if times.interval_s is not None:
            if times.opens_at is not None and after < times.opens_at:
                after = times.opens_at - timedelta(seconds=times.interval_s)
            intervals = ((until - after).total_seconds() + _ROUNDED_S) / times.interval_s
            return max(0, math.floor(intervals))
        if times.opens_at is not None:
            after = max(after, times.opens_at - TICK)
        if isinstance(self._trigger, cron.CronSlots):
            return self._trigger.count(after, until)
        return int(times.at is not None and after < times.at <= until)

    def _next(self, previous: datetime | None, moment: datetime) -> datetime | None:
        if isinstance(self._trigger, cron.CronSlots):
            found = self._trigger.after(moment - TICK)
        else:
            slot: datetime | None = self._trigger.get_next_fire_time(previous, moment)
            found = None if slot is None else slot.astimezone(UTC)
        closes_at = self._timetable.closes_at
        if found is None or (closes_at is not None and found > closes_at):
            return None
        return found


def _trigger(timetable: Timetable, anchor: datetime) -> BaseTrigger | cron.CronSlots:
    if timetable.interval_s is not None:
        return IntervalTrigger(seconds=timetable.interval_s, start_date=anchor, timezone=UTC)
    if timetable.at is not None:
        return DateTrigger(timetable.at, timezone=UTC)
    assert timetable.cron is not None, "a timetable has an interval, cron fields or one moment"
    return cron.CronSlots(cron.parse(timetable.cron), timetable.timezone)

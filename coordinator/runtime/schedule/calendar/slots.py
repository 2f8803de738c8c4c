"""Slots: the moments at which a trigger is due.

APScheduler's triggers compute intervals and single moments. Cron lines are computed by cron.py,
because CronTrigger loses runs where a zone changes its offset.

All moments are aware and on the database's clock, so that they are the same for every node.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from coordinator.protocol.messages.schedule import Trigger
from coordinator.runtime.schedule.calendar import cron

#: The step between two moments of the database.
TICK = timedelta(microseconds=1)
#: Rounding error of a sum of many intervals, in seconds; far below the shortest interval.
_ROUNDED_S = 0.001


class Slots:
    """All slots of a trigger; `anchor` is the moment from which an interval is counted."""

    def __init__(self, trigger: Trigger, anchor: datetime) -> None:
        self._trigger, self._anchor = trigger, anchor
        self._due = _due(trigger, anchor)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the first slot that is not before `moment`; None when none is left."""
        opens_at = self._trigger.opens_at
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
        times = self._trigger
        if times.closes_at is not None:
            until = min(until, times.closes_at)
        if times.interval_s is not None:
            if times.opens_at is not None and after < times.opens_at:
                after = times.opens_at - timedelta(seconds=times.interval_s)
            intervals = ((until - after).total_seconds() + _ROUNDED_S) / times.interval_s
            return max(0, math.floor(intervals))
        if times.opens_at is not None:
            after = max(after, times.opens_at - TICK)
        if isinstance(self._due, cron.CronSlots):
            return self._due.count(after, until)
        return int(times.at is not None and after < times.at <= until)

    def _next(self, previous: datetime | None, moment: datetime) -> datetime | None:
        if isinstance(self._due, cron.CronSlots):
            found = self._due.after(moment - TICK)
        else:
            slot: datetime | None = self._due.get_next_fire_time(previous, moment)
            found = None if slot is None else slot.astimezone(UTC)
        closes_at = self._trigger.closes_at
        if found is None or (closes_at is not None and found > closes_at):
            return None
        return found


def _due(trigger: Trigger, anchor: datetime) -> BaseTrigger | cron.CronSlots:
    if trigger.interval_s is not None:
        return IntervalTrigger(seconds=trigger.interval_s, start_date=anchor, timezone=UTC)
    if trigger.at is not None:
        return DateTrigger(trigger.at, timezone=UTC)
    assert trigger.cron is not None, "a trigger has an interval, cron fields or one moment"
    return cron.CronSlots(cron.parse(trigger.cron), cron.zone_of(trigger.timezone))

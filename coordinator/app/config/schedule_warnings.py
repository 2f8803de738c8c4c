"""Warnings about a schedule that never runs, or runs at once because its moment has passed."""

from __future__ import annotations

from datetime import datetime, timedelta

from coordinator.protocol.messages.schedule import Trigger
from coordinator.runtime.schedule.calendar import cron

_TICK = timedelta(microseconds=1)


def schedule_warnings(trigger: Trigger | None, now: datetime) -> tuple[str, ...]:
    """Return a line for each moment of a trigger that has passed, or leaves nothing to run."""
    if trigger is None:
        return ()
    at, opens_at, closes_at = trigger.at, trigger.opens_at, trigger.closes_at
    if closes_at is not None and closes_at < now:
        return (f"endTime {closes_at.isoformat()} has passed: it will never run",)
    if at is not None:
        if (opens_at is not None and at < opens_at) or (closes_at is not None and at > closes_at):
            return (f"at {at.isoformat()} is not between startTime and endTime: it will never run",)
        if at < now:
            late_s = (now - at).total_seconds()
            grace_s = trigger.misfire_grace_s
            if trigger.catch_up == "none" or (grace_s is not None and late_s > grace_s):
                return (f"at {at.isoformat()} has passed: it will never run",)
            return (f"at {at.isoformat()} has passed: it runs at once",)
    if trigger.cron is not None and closes_at is not None:
        begin = now if opens_at is None else max(now, opens_at)
        slots = cron.CronSlots(cron.parse(trigger.cron), cron.zone_of(trigger.timezone))
        first = slots.after(begin - _TICK)
        if first is None or first > closes_at:
            return (f"cron is not due before endTime {closes_at.isoformat()}: it will never run",)
    return ()

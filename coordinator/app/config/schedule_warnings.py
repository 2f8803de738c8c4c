"""Warn a person who defines a schedule that will not run, or runs at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from coordinator.app.config.settings import TriggerSettings
from coordinator.runtime.schedule.calendar import cron

_TICK = timedelta(microseconds=1)


def schedule_warnings(trigger: TriggerSettings | None, now: datetime) -> tuple[str, ...]:
    """Return a line for each moment of a trigger that has passed, or leaves nothing to run."""
    if trigger is None:
        return ()
    at, opens_at, closes_at = map(moment_of, (trigger.at, trigger.start_time, trigger.end_time))
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
        slots = cron.CronSlots(cron.parse(trigger.cron), zone_of(trigger.timezone))
        first = slots.after(begin - _TICK)
        if first is None or first > closes_at:
            return (f"cron is not due before endTime {closes_at.isoformat()}: it will never run",)
    return ()


def moment_of(text: str | None) -> datetime | None:
    """Read a moment of a trigger; without an offset it is UTC."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def zone_of(name: str | None) -> tzinfo:
    """Return the zone of a trigger's cron line.

    Errors: KeyError or ValueError where this machine does not know it.
    """
    return UTC if name is None or name == "UTC" else ZoneInfo(name)

"""The slot that a machine was started for, by the database's clock (rule M6)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from coordinator.app.config.model import values
from coordinator.errors import UsageError
from coordinator.protocol.messages.schedule import Trigger
from coordinator.protocol.rules.once_per_slot import Nearest, default_late_s, nearest
from coordinator.runtime.schedule.calendar import cron
from coordinator.runtime.schedule.calendar.slots import Slots

#: A machine whose clock is fast by less waits for its slot.
EARLY_S = 120.0
#: A slot that is this old is not run by default, however rare it is.
LATE_MAX_S = 600.0
#: Shortest duration between two slots.
SHORTEST_S = 0.1
#: Slots "every 30s" are counted from here, so that they are the same for all machines.
ANCHOR = datetime(1970, 1, 1, tzinfo=UTC)
#: Widening looks back for the last slot; the rarest cron line is due every 40 years.
LOOKS_BACK = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 367, 15_000))
#: Directory of the zones' files, below which /etc/localtime points.
ZONES = "zoneinfo/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The slot of a machine: which one, and how far away it is.

    which:  "none": the last slot is too old to be run.
    wait_s: seconds until it begins; 0.0 for one that has.
    next_at: the slot that follows it; None: it is the last.
    """

    slot: datetime
    which: Nearest
    wait_s: float
    next_at: datetime | None


def slots_of(text: str, zone: str) -> Slots:
    """Return the slots that a text names: five cron fields, "@hourly", or a duration ("30s").

    Errors: UsageError for any other text.
    """
    try:
        cron.zone_of(zone)
    except (KeyError, ValueError):
        raise UsageError(f"--timezone: there is no zone {zone!r} on this machine") from None
    if " " not in text.strip() and not text.startswith("@"):
        try:
            seconds = values.duration_s(text)
        except ValueError as error:
            raise UsageError(f"--slot: {error}, or five cron fields (got {text!r})") from None
        if seconds < SHORTEST_S:
            raise UsageError(f"--slot: must not be below {SHORTEST_S:g} s (got {text!r})")
        return Slots(Trigger(interval_s=seconds), ANCHOR)
    try:
        values.cron(text)
    except ValueError as error:
        raise UsageError(f"--slot: {error} (got {text!r})") from None
    return Slots(Trigger(cron=text, timezone=zone), ANCHOR)


def choose(slots: Slots, now: datetime, *, early_s: float, late_s: float | None) -> Chosen:
    """Choose the slot that is meant at a moment of the database's clock.

    late_s: age from which a slot is not run any more; None: as rule M6 has it.
    """
    last, following = _last(slots, now), slots.at_or_after(now)
    if last == now:
        following = slots.after(now)
    far_s = float("inf")
    since_last_s = far_s if last is None else (now - last).total_seconds()
    until_next_s = far_s if following is None else (following - now).total_seconds()
    if late_s is None:
        late_s = default_late_s(since_last_s, until_next_s, LATE_MAX_S)
    which = nearest(since_last_s, until_next_s, early_s, late_s)
    if which == "next" or last is None:
        assert following is not None, "a line that is due some day has a slot"
        wait_s = until_next_s if which == "next" else 0.0
        return Chosen(slot=following, which=which, wait_s=wait_s, next_at=slots.after(following))
    return Chosen(slot=last, which=which, wait_s=0.0, next_at=following)


def _last(slots: Slots, now: datetime) -> datetime | None:
    """Return the last slot that is not after a moment."""
    for back in LOOKS_BACK:
        first = slots.at_or_after(max(ANCHOR, now - back))
        if first is not None and first <= now:
            return slots.latest(first, now)
    return None


def local_zone() -> str:
    """Return the name of the machine's time zone, in which cron reads a crontab; else UTC."""
    for named in (os.environ.get("CRON_TZ"), os.environ.get("TZ", "").removeprefix(":")):
        if named:
            return named
    path = str(Path("/etc/localtime").resolve())
    return path.partition(ZONES)[2] or "UTC"

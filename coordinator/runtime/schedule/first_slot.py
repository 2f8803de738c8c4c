"""The first slot of a holder of a schedule's token, by the record that it finds.

Pure decisions: the present moment is the database's clock, read together with the record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.protocol.messages.schedule import Trigger
from coordinator.protocol.messages.schedule_claims import RECORD_AHEAD_MAX_S, SLOT_AHEAD_MAX_S
from coordinator.runtime.schedule.calendar.slots import TICK, Slots

#: Largest number of missed slots that a new holder makes up for: more would delay present ones.
CATCH_UP_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSeen:
    """The group's record of its schedule, and the database's clock as it was read.

    terminated_at: moment at which the error policy ended the schedule; None when it did not.
    asked_at:      moment of the last request for the schedule: the task was defined or enabled, or
                   this node was started.
    unfinished:    the last run was claimed, and its end was never recorded.
    term:          the term under which the record was last written.
    """

    fired_count: int
    last_fire_at: datetime | None
    ended: bool
    now: datetime
    end_reason: str = ""
    terminated_at: datetime | None = None
    asked_at: datetime | None = None
    unfinished: bool = False
    term: int = 0

    @property
    def terminated(self) -> bool:
        """True when the error policy ended it, and it was not requested since."""
        if self.terminated_at is None:
            return False
        return self.asked_at is None or self.asked_at <= self.terminated_at

    @property
    def ahead_s(self) -> float:
        """Seconds by which the last run lies ahead of the clock; 0 when it does not."""
        if self.last_fire_at is None:
            return 0.0
        ahead_s = (self.last_fire_at - self.now).total_seconds()
        return ahead_s if ahead_s > SLOT_AHEAD_MAX_S else 0.0


@dataclass(frozen=True, slots=True)
class Opening:
    """The beginning of a holder: its first slot, or why there is none.

    counted_from: slots later than this moment that are not run count as skipped.
    skipped:      slots that no node has run or will run, because the schedule is over.
    """

    slots: Slots
    first: datetime | None
    counted_from: datetime
    over: str = ""
    skipped: int = 0


def opening(trigger: Trigger, seen: ScheduleSeen) -> Opening:
    """Return the slot at which a holder begins that finds this record of the group."""
    last, now = seen.last_fire_at, seen.now
    if seen.ahead_s > RECORD_AHEAD_MAX_S:
        return _anew(trigger, seen)
    opens_at = now if trigger.opens_at is None else max(now, trigger.opens_at)
    slots = Slots(trigger, last or opens_at)
    since = last or _before_the_first(trigger, opens_at)
    if _count_reached(trigger, seen):
        return Opening(slots, None, since, f"maxCount {trigger.max_count} is reached")
    if trigger.closes_at is not None and now > trigger.closes_at:
        over = f"endTime {trigger.closes_at.isoformat()} has passed"
        return Opening(slots, None, since, over, slots.count(since, now))
    first = _first_slot(trigger, slots, last, now)
    if first is None:
        return Opening(slots, None, since, why_over(trigger), slots.count(since, now))
    return Opening(slots, first, since)


def _before_the_first(trigger: Trigger, opens_at: datetime) -> datetime:
    """Return the moment from which the slots of a schedule that has never run are counted."""
    if trigger.interval_s is not None:
        return opens_at - timedelta(seconds=trigger.interval_s)
    return (opens_at if trigger.at is None else min(opens_at, trigger.at)) - TICK


def why_over(trigger: Trigger) -> str:
    """Explain why no slot is left."""
    if trigger.at is not None:
        return f"its one moment {trigger.at.isoformat()} has passed"
    if trigger.closes_at is not None:
        return f"no run is left before endTime {trigger.closes_at.isoformat()}"
    return "no run is left"


def _count_reached(trigger: Trigger, seen: ScheduleSeen) -> bool:
    return trigger.max_count is not None and seen.fired_count >= trigger.max_count


def _anew(trigger: Trigger, seen: ScheduleSeen) -> Opening:
    """Begin at the clock, because the record lies far ahead of it; its slot is not run again.

    An interval keeps its phase, so the first run comes within one interval.
    """
    last, now = seen.last_fire_at, seen.now
    assert last is not None, "a record without runs is not ahead"
    anchor = now
    if trigger.interval_s is not None:
        steps = math.ceil((last - now).total_seconds() / trigger.interval_s)
        anchor = last - timedelta(seconds=steps * trigger.interval_s)
    slots = Slots(trigger, anchor)
    if _count_reached(trigger, seen):
        return Opening(slots, None, now, f"maxCount {trigger.max_count} is reached")
    first = slots.at_or_after(now + TICK)
    if first == last:
        first = slots.after(last)
    return Opening(slots, first, now, "" if first is not None else why_over(trigger))


def _first_slot(
    trigger: Trigger, slots: Slots, last: datetime | None, now: datetime
) -> datetime | None:
    if last is not None:
        first = (
            slots.at_or_after(last + TICK)
            if trigger.interval_s is None
            else _fit(trigger, slots.after(last))
        )
    else:
        # Nothing has ever run. Only the one moment of `at` can have been missed.
        first = slots.at_or_after(now if trigger.at is None else trigger.at)
    if first is None or first > now:
        return first
    match trigger.catch_up:
        case "none":
            return first if last is None and first == now else slots.at_or_after(now)
        case "once":
            return slots.latest(first, now)
        case "all":
            # The older half is dropped until the rest can be made up for.
            while slots.count(first, now) >= CATCH_UP_MAX:
                newer = slots.at_or_after(first + (now - first) / 2)
                assert newer is not None, "a slot lies at or before now"
                first = newer
            return first


def _fit(trigger: Trigger, slot: datetime | None) -> datetime | None:
    """Return an interval's slot, no earlier than a startTime that was set since the last run."""
    if slot is None or trigger.opens_at is None:
        return slot
    return max(slot, trigger.opens_at)

"""A follower of events shows each once, also one whose transaction ended after a later one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from coordinator.app.admin.events import OVERLAP_S, EventLine, Seen

START = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def event(number: int, after_s: float) -> EventLine:
    return EventLine(
        id=number,
        at=START + timedelta(seconds=after_s),
        token="orders",
        kind="taken",
        node="node-1",
        term=number,
        reason=None,
        who="node-1",
        age_s=0.0,
    )


def numbers(seen: Seen, *events: EventLine) -> list[int]:
    """Return what is shown of an answer, which has no event up to the floor."""
    return [each.id for each in seen.fresh(each for each in events if each.id > seen.floor)]


def test_an_event_that_appears_late_is_shown_once() -> None:
    seen = Seen(0)

    assert numbers(seen, event(1, 0.0), event(3, 0.2)) == [1, 3]
    assert numbers(seen, event(1, 0.0), event(2, 0.1), event(3, 0.2)) == [2]
    assert numbers(seen, event(1, 0.0), event(2, 0.1), event(3, 0.2)) == []


def test_events_that_are_old_enough_are_not_asked_for_again() -> None:
    seen = Seen(0)
    numbers(seen, event(1, 0.0), event(2, 1.0))

    assert numbers(seen, event(1, 0.0), event(2, 1.0), event(3, OVERLAP_S + 0.5)) == [3]

    assert seen.floor == 1
    assert numbers(seen, event(1, 0.0), event(2, 1.0), event(3, OVERLAP_S + 0.5)) == []


def test_a_follower_without_a_past_begins_behind_the_last_event() -> None:
    seen = Seen(7)

    assert numbers(seen, event(7, 0.0), event(8, 1.0)) == [8]

"""The slot that a machine was started for: cron lines and durations, zones, and bad input."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coordinator.app.node.once.slot import EARLY_S, choose, local_zone, slots_of
from coordinator.app.node.once.start import group_of
from coordinator.errors import UsageError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "zone", "now", "slot", "which"),
    [
        ("*/5 * * * *", "UTC", "2026-03-01T12:00:00", "2026-03-01T12:00:00", "last"),
        ("*/5 * * * *", "UTC", "2026-03-01T12:01:30", "2026-03-01T12:00:00", "last"),
        ("*/5 * * * *", "UTC", "2026-03-01T12:03:30", "2026-03-01T12:05:00", "next"),
        ("0 3 * * *", "UTC", "2026-03-01T02:58:30", "2026-03-01T03:00:00", "next"),
        ("0 3 * * *", "UTC", "2026-03-01T03:09:59", "2026-03-01T03:00:00", "last"),
        ("0 3 * * *", "UTC", "2026-03-01T03:10:01", "2026-03-01T03:00:00", "none"),
        ("0 3 * * *", "Europe/Berlin", "2026-03-01T02:00:05", "2026-03-01T02:00:00", "last"),
        ("@hourly", "UTC", "2026-03-01T12:00:01", "2026-03-01T12:00:00", "last"),
        ("0 0 29 2 *", "UTC", "2027-03-01T12:00:00", "2024-02-29T00:00:00", "none"),
        ("30s", "UTC", "2026-03-01T12:00:31", "2026-03-01T12:00:30", "last"),
    ],
)
def test_the_slot_of_a_moment_of_the_database(line, zone, now, slot, which):
    """M6"""
    chosen = choose(slots_of(line, zone), at(now), early_s=EARLY_S, late_s=None)

    assert (chosen.slot, chosen.which) == (at(slot), which)
    assert chosen.next_at is not None
    assert chosen.next_at > chosen.slot
    assert (chosen.wait_s > 0) == (which == "next")


def test_more_lateness_may_be_allowed():
    slots = slots_of("0 3 * * *", "UTC")

    chosen = choose(slots, at("2026-03-01T09:00:00"), early_s=EARLY_S, late_s=86_400.0)

    assert (chosen.slot, chosen.which) == (at("2026-03-01T03:00:00"), "last")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("61 * * * *", "must be five cron fields"),
        ("0 0 30 2 *", "is never due"),
        ("soon", "must be seconds"),
        ("-5s", "must not be negative"),
        ("0", "must not be below 0.1 s"),
        ("", "must be seconds"),
    ],
)
def test_a_slot_that_is_none_is_refused(line, told):
    with pytest.raises(UsageError, match=f"--slot: .*{told}"):
        slots_of(line, "UTC")


def test_a_zone_that_is_none_is_refused():
    with pytest.raises(UsageError, match="--timezone: there is no zone 'Nowhere/Town'"):
        slots_of("* * * * *", "Nowhere/Town")


def test_the_zone_is_that_of_the_crontab(monkeypatch):
    monkeypatch.setenv("TZ", ":Europe/Berlin")
    monkeypatch.delenv("CRON_TZ", raising=False)
    assert local_zone() == "Europe/Berlin"

    monkeypatch.setenv("CRON_TZ", "Asia/Tokyo")
    assert local_zone() == "Asia/Tokyo"


def test_a_job_without_a_name_is_named_by_its_line():
    assert group_of("@hourly", ("a", "b")) == group_of("@hourly", ("a", "b"))
    assert group_of("@hourly", ("a", "b")) != group_of("@hourly", ("a b",))
    assert group_of("@hourly", ("a",)) != group_of("@daily", ("a",))

"""One start for each slot: the choice of the slot, and what each machine does about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.rules.once_per_slot import (
    CLAIM_S,
    RESERVED_MIN_S,
    RESERVED_S,
    SPREAD_S,
    SlotSeen,
    decide,
    default_late_s,
    fired,
    nearest,
    reserved_for_s,
    retry_left_s,
    spread_s,
)

SEEN = SlotSeen(
    fired="earlier",
    running=False,
    record_term=4,
    token_term=4,
    lives=False,
    dead_for_s=100.0,
    next_in_s=200.0,
)


@pytest.mark.parametrize(
    ("since_s", "until_s", "chosen"),
    [
        (0.0, 300.0, "last"),
        (90.0, 210.0, "last"),  # a clock that is slow by 90 s
        (210.0, 90.0, "next"),  # a clock that is fast by 90 s
        (149.0, 151.0, "last"),
        (151.0, 149.0, "none"),  # half of the way is over, and the next is too far away
        (86_310.0, 90.0, "next"),
        (50_000.0, 36_400.0, "none"),  # a machine that was off in the night
    ],
)
def test_the_database_names_the_slot_that_is_nearest(since_s, until_s, chosen):
    """M6"""
    late_s = default_late_s(since_s, until_s, 600.0)

    assert nearest(since_s, until_s, 120.0, late_s) == chosen


@pytest.mark.parametrize(
    ("changes", "retry_s", "decision"),
    [
        ({}, None, "run"),
        ({"fired": "never", "record_term": 0, "token_term": 0}, None, "run"),
        ({"fired": "later"}, None, "done"),
        ({"fired": "later", "next_in_s": -1.0}, 1.0, "done"),
        ({"fired": "same"}, 1.0, "done"),
        # The slot's run goes on, and its starter lives.
        ({"fired": "same", "running": True, "lives": True}, None, "done"),
        ({"fired": "same", "running": True, "lives": True}, 1.0, "wait"),
        ({"fired": "same", "running": True, "lives": True, "next_in_s": 0.0}, 1.0, "done"),
        # Its starter died.
        ({"fired": "same", "running": True}, None, "done"),
        ({"fired": "same", "running": True, "dead_for_s": 0.9}, 1.0, "wait"),
        ({"fired": "same", "running": True, "dead_for_s": 1.0}, 1.0, "run"),
        # Another machine has taken the token after that, and is about to claim.
        ({"fired": "same", "running": True, "lives": True, "token_term": 5}, 1.0, "wait"),
        # The run of an earlier slot goes on.
        ({"running": True, "lives": True}, None, "wait"),
        ({"running": True, "lives": True, "next_in_s": -0.1}, None, "missed"),
        ({"running": True, "dead_for_s": 0.0}, None, "run"),
        # A pause or a drain: this machine may take nothing.
        ({"paused": True}, None, "paused"),
        ({"paused": True, "fired": "same", "running": True}, 1.0, "paused"),
        ({"paused": True, "fired": "same"}, 1.0, "done"),
        ({"paused": True, "running": True, "lives": True}, None, "wait"),
        # Another machine begins a node for the slot.
        ({"reserved": True}, None, "wait"),
        ({"reserved": True, "fired": "same", "running": True}, 1.0, "wait"),
        ({"reserved": True, "fired": "same"}, None, "done"),
        ({"reserved": True, "next_in_s": -0.1}, None, "missed"),
    ],
)
def test_a_machine_knows_from_one_look_what_to_do(changes, retry_s, decision):
    """M7, M8"""
    assert decide(replace(SEEN, **changes), retry_s, 0.0) == decision


@pytest.mark.parametrize(
    ("behind_slot_s", "ahead_s", "found"),
    [
        (0.0, 0.5, "same"),
        (300.0, -299.0, "earlier"),
        (-60.0, 59.0, "later"),
        (-86_400.0, 86_400.0, "earlier"),
    ],
)
def test_a_record_far_ahead_of_the_clock_stops_no_slot(behind_slot_s, ahead_s, found):
    """C4, M7: a clock that was wrong once must not end the job for as long as it was ahead."""
    assert fired(behind_slot_s, ahead_s) == found


def test_a_token_that_is_held_for_something_else_is_told_after_a_while():
    """M7: a node that has just taken it is about to claim."""
    foreign = replace(SEEN, lives=True, token_term=9)

    assert decide(foreign, None, CLAIM_S - 0.1) == "wait"
    assert decide(foreign, None, CLAIM_S) == "foreign"


@pytest.mark.parametrize("known", ["reserved", "expected"])
def test_the_token_of_a_machine_that_has_reserved_is_not_held_for_something_else(known):
    """M7: on a busy machine a node takes long from its take to its claim."""
    seen = replace(SEEN, lives=True, token_term=9, **{known: True})

    assert decide(seen, None, 10 * CLAIM_S) == "wait"


def test_a_reservation_leaves_time_for_another_machine():
    """M7"""
    assert reserved_for_s(300.0) == RESERVED_S
    assert reserved_for_s(20.0) == 10.0
    assert reserved_for_s(0.5) == RESERVED_MIN_S


def test_a_machine_that_saw_the_starter_dead_has_waited_already():
    """M8"""
    assert retry_left_s(replace(SEEN, fired="same", running=True), 30.0) == 0.0
    assert retry_left_s(SEEN, 30.0) == 30.0
    assert retry_left_s(SEEN, None) is None


def test_machines_hold_back_differently_and_never_for_long():
    """M7"""
    waits = {spread_s(f"m{number}", "2026-01-01", 300.0) for number in range(20)}

    assert len(waits) == 20
    assert 0.0 <= min(waits) <= max(waits) <= SPREAD_S
    assert spread_s("m1", "2026-01-01", 2.0) <= 0.4
    assert spread_s("m1", "2026-01-01", -1.0) == 0.0

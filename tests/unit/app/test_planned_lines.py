"""Sentences about open planned changes, as `coord status` shows them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coordinator.app.admin.planned_lines import PlannedLine, sentence

MOMENT = datetime(2026, 5, 4, 12, tzinfo=UTC)


def line(**changes: object) -> PlannedLine:
    known: dict[str, object] = {
        "id": 7,
        "group": "orders",
        "kind": "pause work",
        "node": None,
        "value": None,
        "state": "open",
        "asked_at": MOMENT,
        "asked_by": "ana",
        "reason": None,
        "due_at": None,
        "until_at": None,
        "ended_at": None,
        "ended_by": None,
        "outcome_reason": None,
        "age_s": 180.0,
        "wait_s": None,
        "left_s": None,
    }
    return PlannedLine(**{**known, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "the work is paused by ana, 3m ago, until `coord resume`"),
        (
            {"kind": "pause takeovers", "left_s": 600.0, "reason": "network"},
            "takeovers are paused by ana, 3m ago, for 10m more: network",
        ),
        (
            {"kind": "drain", "node": "node-1"},
            "node-1 is draining, asked for by ana, 3m ago, until `coord undrain`",
        ),
        (
            {"kind": "switchover", "node": "node-2", "state": "waiting", "wait_s": 3600.0},
            "a switchover to node-2 in 1h was asked for by ana, 3m ago",
        ),
        ({"kind": "switchover"}, "a switchover was asked for by ana, 3m ago"),
        ({"kind": "resign", "node": "node-1"}, "node-1 was asked to resign by ana, 3m ago"),
        (
            {"kind": "priority", "node": "node-2", "value": 5},
            "node-2 has priority 5, set by ana, 3m ago, until it is set anew",
        ),
    ],
)
def test_a_change_is_told_in_one_sentence(changes: dict[str, object], said: str):
    assert sentence(line(**changes)) == said

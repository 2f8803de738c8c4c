"""The end of following a planned change: what was asked for, or an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coordinator.app.admin.planned_lines import PlannedLine
from coordinator.cli.commands.planned.following import PlannedConnection, followed
from coordinator.errors import ConditionFalseError


def change(state: str) -> PlannedLine:
    """Return a pause in a state."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("node", "value", "reason", "due_at", "until_at", "ended_at", "outcome_reason")
    )
    times = {"age_s": 1.0, "wait_s": None, "left_s": None}
    return PlannedLine(
        id=1,
        group="orders",
        kind="pause work",
        state=state,
        asked_at=datetime(2026, 1, 1, tzinfo=UTC),
        asked_by="anna",
        ended_by="bert",
        **nothing,
        **times,
    )


@dataclass
class Changes:
    """Database that shows a change in these states, one after the other."""

    states: list[str] = field(default_factory=list)

    def look(self, _number: int) -> PlannedLine:
        return change(self.states.pop(0))


def connection(*states: str) -> PlannedConnection:
    options = cast("Any", SimpleNamespace(quiet=True, timeout_s=5.0))
    changes = cast("Any", Changes(list(states)))
    return PlannedConnection(
        changes=changes, group="orders", options=options, label="db", settings=options
    )


def test_a_standing_change_that_was_ended_meanwhile_is_not_told_as_one_that_stands():
    """`coord resume` or `coord undrain` in another terminal while the program still ends."""
    with pytest.raises(ConditionFalseError, match=r"the pause of work was ended .*by bert"):
        followed(connection("open", "done"), 1, lambda _: "node-1 still ends", stands=True)


def test_a_standing_change_is_told_once_it_is_so():
    assert followed(connection("open"), 1, lambda _: "", stands=True).state == "open"


def test_a_change_that_ends_with_what_it_asks_for_is_told_when_it_is_done():
    assert followed(connection("open", "done"), 1, lambda _: "under way").state == "done"

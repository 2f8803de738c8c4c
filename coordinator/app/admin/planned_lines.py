"""Open planned changes as lines for people: who asked for what, since when, until when, why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coordinator.app.admin.explain import words


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLine:
    """One planned change; ages and spans by the server's clock.

    state: "waiting" for its time, "open", "in force" (a setting), or its outcome.
    lacking, contradicting: of a setting, live nodes without the value, and with another one in
                            their files.
    """

    id: int
    group: str
    kind: str
    node: str | None
    value: int | None
    state: str
    asked_at: datetime
    asked_by: str
    reason: str | None
    due_at: datetime | None
    until_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    outcome_reason: str | None
    age_s: float
    wait_s: float | None
    left_s: float | None
    agreed_at: datetime | None = None
    lacking: list[str] | None = None
    contradicting: list[str] | None = None

    @property
    def is_open(self) -> bool:
        """True until the change has an outcome."""
        return self.state in ("waiting", "open")


def line_of(row: dict[str, Any]) -> PlannedLine:
    """Return the line that a row of the store is of."""
    fields = dict(row)
    return PlannedLine(group=fields.pop("group_id"), **fields)


def sentence(change: PlannedLine) -> str:
    """Return what an open change does, who asked for it, since when, until when and why."""
    if change.kind == LIVENESS:
        return _setting(change)
    what = _WHAT[change.kind].format(node=change.node, value=change.value, to=_to(change))
    by = f"by {change.asked_by}, {words.age(max(0.0, change.age_s))} ago"
    why = f": {change.reason}" if change.reason else ""
    return f"{what} {by}{_until(change)}{why}"


def _setting(change: PlannedLine) -> str:
    """Return which value the group has, or is to have, who lacks it, and whose files differ."""
    value = (
        f"{change.kind} {'is' if change.agreed_at else 'is to be'} {(change.value or 0) / 1000:g} s"
    )
    by = f"set by {change.asked_by}, {words.age(max(0.0, change.age_s))} ago"
    why = f": {change.reason}" if change.reason else ""
    lacking = f"; not yet: {named(change.lacking)}" if change.lacking else ""
    differ = f"; other values in the files of {named(change.contradicting)} do not count"
    return f"{value} for all nodes, {by}{why}{lacking}{differ if change.contradicting else ''}"


def named(nodes: list[str] | None) -> str:
    """Return names, at most NAMED_MAX of them."""
    nodes = nodes or []
    more = f" and {len(nodes) - NAMED_MAX} more" if len(nodes) > NAMED_MAX else ""
    return ", ".join(nodes[:NAMED_MAX]) + more


#: Nodes that a sentence names.
NAMED_MAX = 3
LIVENESS = "livenessCheckInterval"
_WHAT = {
    "switchover": "a switchover{to} was asked for",
    "resign": "{node} was asked to resign",
    "pause work": "the work is paused",
    "pause takeovers": "takeovers are paused",
    "drain": "{node} is draining, asked for",
    "priority": "{node} has priority {value}, set",
}


def _to(change: PlannedLine) -> str:
    to = f" to {change.node}" if change.node else ""
    if change.state == "waiting" and change.wait_s is not None:
        return f"{to} in {words.age(max(0.0, change.wait_s))}"
    return to


def _until(change: PlannedLine) -> str:
    """Return until when a change stands; for a switchover that is no news."""
    if change.kind in ("switchover", "resign"):
        return ""
    if change.left_s is None:
        ends = {"drain": "`coord undrain`", "priority": "it is set anew"}
        return f", until {ends.get(change.kind, '`coord resume`')}"
    return f", for {words.age(max(0.0, change.left_s))} more"

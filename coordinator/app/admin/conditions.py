"""Conditions of a group: for `coord wait`, and the verdict of `coord check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from coordinator.app.admin.status import GroupLine
from coordinator.errors import UsageError

Condition = Callable[[GroupLine], bool]

#: Conditions that are one word.
WORDS: dict[str, Condition] = {
    "active": lambda group: group.state == "active",
    "leaderless": lambda group: group.state != "active",
    "idle": lambda group: group.state == "idle",
    "standby": lambda group: bool(standbys(group)),
    "paused": lambda group: bool(group.paused),
    "resumed": lambda group: not group.paused,
}
COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">=": lambda term, other: term >= other,
    "<=": lambda term, other: term <= other,
    ">": lambda term, other: term > other,
    "<": lambda term, other: term < other,
    "=": lambda term, other: term == other,
}
#: Text for people who typed another condition.
FORMS = f"{', '.join(WORDS)}, holder=NODE, holder!=NODE or 'term>7'"


def condition_of(text: str) -> Condition:
    """Return the condition that a text names.

    Errors: UsageError with all forms.
    """
    if text in WORDS:
        return WORDS[text]
    for equals, wanted in (("holder!=", False), ("holder=", True)):
        if text.startswith(equals) and len(text) > len(equals):
            node = text.removeprefix(equals)
            return lambda group: group.holder is not None and (group.holder == node) is wanted
    for sign, holds in COMPARE.items():
        number = text.removeprefix(f"term{sign}")
        if number != text and number.isdecimal():
            return lambda group: holds(group.term, int(number))
    raise UsageError(f"--for: {text!r} is none of {FORMS}")


def standbys(group: GroupLine) -> list[str]:
    """Return the live nodes that may take the token from the present holder."""
    drained = {each.node for each in group.planned if (each.kind, each.state) == ("drain", "open")}
    return [
        node.node
        for node in group.nodes
        if node.state in ("ok", "late") and node.priority > 0 and node.node != group.holder
        if node.node not in drained
    ]


class Level(Enum):
    """Level of a verdict, with its exit code for Nagios and its word."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """State of a group for a monitor; the figures are Nagios' performance data."""

    level: Level
    text: str
    figures: tuple[str, ...] = ()


def verdict_of(group: GroupLine) -> Verdict:
    """Judge a group: critical without an active node, a warning when a failure would make it so."""
    ready = standbys(group)
    figures = [f"standbys={len(ready)}", f"term={group.term}"]
    if group.beat_age_s is not None:
        figures.append(f"heartbeat_age={group.beat_age_s:.3f}s")
    if group.leaderless_s is not None:
        figures.append(f"leaderless={group.leaderless_s:.3f}s")
    does = "observes" if group.hosts_tasks else "is active"
    if group.state != "active":
        text = f"{group.group}: nobody {does} (term {group.term})"
        return Verdict(level=Level.CRITICAL, text=text, figures=tuple(figures))
    holder = next((node for node in group.nodes if node.node == group.holder), None)
    text = f"{group.group}: {group.holder} {does}, term {group.term}"
    if holder is not None and holder.state == "late":
        text += ", and its heartbeat is late"
    elif group.paused.startswith("pause takeovers"):
        text += f", and nobody could take over: {group.paused}"
    elif group.wait is not None:
        text += f", and timeline {group.wait.timeline} is not settled: nobody could take over yet"
    elif not ready:
        text += ", and no other node could take over"
    else:
        count = f"{len(ready)} standby" + ("" if len(ready) == 1 else "s")
        return Verdict(level=Level.OK, text=f"{text}; {count}", figures=tuple(figures))
    return Verdict(level=Level.WARNING, text=text, figures=tuple(figures))


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return one verdict for several groups: the worst level, and what is wrong."""
    level = max((each.level for each in verdicts), key=lambda each: each.value)
    wrong = [each.text for each in verdicts if each.level is not Level.OK]
    text = "; ".join(wrong) if wrong else f"{len(verdicts)} groups are active"
    if len(verdicts) == 1:
        return verdicts[0]
    return Verdict(level=level, text=text, figures=(f"groups={len(verdicts)}", f"bad={len(wrong)}"))

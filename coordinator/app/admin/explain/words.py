"""Ages, moments and lists of names, as the sentences of an explanation have them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from coordinator.app.admin.explain.facts import NodeFact, TermFact

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
#: More names are counted.
NAMES_MAX = 5


def age(seconds: float) -> str:
    """Write an age in one suitable unit: 0.3 s, 14m, 3h, 12d."""
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < HOUR_S:
        return f"{seconds / MINUTE_S:.0f}m"
    if seconds < 2 * DAY_S:
        return f"{seconds / HOUR_S:.0f}h"
    return f"{seconds / DAY_S:.0f}d"


def moment(now: datetime, age_s: float) -> str:
    """Write the moment that is `age_s` before now; one of another day with its date."""
    then = (now - timedelta(seconds=age_s)).astimezone(UTC)
    style = "%H:%M:%SZ" if then.date() == now.astimezone(UTC).date() else "%Y-%m-%dT%H:%M:%SZ"
    return then.strftime(style)


def since(now: datetime, age_s: float | None) -> str:
    """Write since when something is so, as a moment and an age; empty when it is not known."""
    return "" if age_s is None else f" since {moment(now, age_s)} ({age(max(0.0, age_s))})"


def in_time(seconds: float) -> str:
    """Write how soon something is due."""
    return f"in {age(seconds)}" if seconds > 0 else "now"


def listed(names: Sequence[str]) -> str:
    """Write names as a list; many are counted."""
    shown = list(names[:NAMES_MAX])
    more = len(names) - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def verb(names: Sequence[object], one: str, many: str) -> str:
    """Return the form of a verb that fits the number of names."""
    return one if len(names) == 1 else many


def place(node: NodeFact) -> str:
    """Return a node with its host and pid."""
    return f"{node.node} ({node.where})" if node.where else node.node


def reached(node: NodeFact) -> list[str]:
    """Return a sentence about the address of a node, if it has one."""
    return [f"Others reach it at {node.address}."] if node.address else []


def cause(term: TermFact) -> str:
    """Return why a holding began, as a clause."""
    reason = f" ({term.reason})" if term.reason else ""
    match term.how:
        case "first":
            return "nobody had held it before"
        case "release":
            return f"{term.previous or 'the last holder'} had given the token back{reason}"
        case _:
            return f"the session of {term.previous or 'the last holder'} was over{reason}"

"""Sentences about planned changes: pauses, switchovers and drains (rules A)."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.app.admin.explain.facts import GroupFacts, PlannedFact
from coordinator.app.admin.explain.words import in_time, since

PAUSES = {
    "pause work": "nobody runs its program or its tasks",
    "pause takeovers": "nobody takes a token, whatever happens to its holder",
}


def paused(facts: GroupFacts, pause: PlannedFact) -> str:
    """Return the sentence about a pause, and how it ends."""
    if pause.until_s is None:
        end = f"until `coord resume {facts.group}`"
    else:
        end = f"until it ends {in_time(pause.until_s)}, or `coord resume {facts.group}`"
    return (
        f"The group has been paused{since(facts.now, pause.age_s)}{_author(pause)}:"
        f" {PAUSES.get(pause.kind, pause.kind)}, {end}."
    )


def plans(facts: GroupFacts) -> Iterator[str]:
    """Yield what is planned beside a pause."""
    for plan in facts.planned:
        if plan.kind == "switchover":
            to = f" to {plan.node}" if plan.node else ""
            when = "is due now" if plan.due_s is None else f"is due {in_time(plan.due_s)}"
            yield f"A switchover{to} {when}{_author(plan)}."
        elif plan.kind == "resign":
            yield f"{plan.node} was asked to give the token up{_author(plan)}."
        elif plan.kind == "drain":
            yield (
                f"{plan.node} has been drained{since(facts.now, plan.age_s)}{_author(plan)}:"
                " it gives up what it holds, and takes nothing."
            )


def _author(plan: PlannedFact) -> str:
    by = f", asked for by {plan.by}" if plan.by else ""
    return f"{by} ({plan.reason})" if plan.reason else by

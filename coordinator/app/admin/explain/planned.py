"""Sentences about planned changes: pauses, switchovers and drains (rules A)."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.app.admin.explain.facts import GroupFacts, NodeFact, PlannedFact
from coordinator.app.admin.explain.words import age, in_time, since

#: A holder that has not given up after so many heartbeats waits for the end of its program.
UNFINISHED_BEATS = 3.0
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


def unfinished(facts: GroupFacts, active: NodeFact) -> Iterator[str]:
    """Yield why the holder has not given the token up yet, although a change asks for that.

    The database knows neither the program's stopTimeout nor its processes: the sentence names what
    may be, and where the node tells it.
    """
    asked = [plan.open_s for plan in facts.planned if _gives_up(plan, active)]
    if asked and max(asked) > UNFINISHED_BEATS * active.heartbeat_s:
        yield (
            f"{active.node} was to give the token up {age(max(asked))} ago, and has not: its"
            " program has not ended. After its stopTimeout it is killed. If that is over, too, a"
            " process of it cannot be killed, for it belongs to another user or is stuck on a"
            f" disk: the log of {active.node} names it. Until it is gone the token is kept, and"
            " nobody else starts."
        )


def _gives_up(plan: PlannedFact, active: NodeFact) -> bool:
    """Say whether a change that is due takes the token from its holder."""
    if plan.kind in ("drain", "resign"):
        return plan.node == active.node
    if plan.kind == "switchover":
        return plan.due_s is None and plan.node != active.node
    return plan.kind == "pause work"


def _author(plan: PlannedFact) -> str:
    by = f", asked for by {plan.by}" if plan.by else ""
    return f"{by} ({plan.reason})" if plan.reason else by

"""Explanation of a group that runs one program: why this node, who is next, when it runs next."""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.app.admin.explain import nobody
from coordinator.app.admin.explain.facts import Explanation, GroupFacts, NodeFact, ScheduleFact
from coordinator.app.admin.explain.planned import paused, plans, unfinished
from coordinator.app.admin.explain.words import (
    age,
    cause,
    in_time,
    listed,
    place,
    reached,
    since,
    verb,
)
from coordinator.protocol.messages.requests import Candidate
from coordinator.protocol.rules.ranking import rank

#: A heartbeat that is older than this many intervals is late.
LATE_BEATS = 2.0


def explain_program(facts: GroupFacts) -> Explanation:
    """Return the explanation of a group of one program."""
    active = facts.active
    if active is None:
        return nobody.explain_nobody(facts, observes=False)
    first = (
        f"{facts.group}: {active.node} is active, term {facts.token.term},"
        f"{since(facts.now, facts.token.acquired_age_s)}."
    )
    sentences = [first, *reached(active), *why_this(facts), *trust(active), *plans(facts)]
    if facts.pause is not None:
        sentences.append(paused(facts, facts.pause))
    else:
        sentences += next_holders(facts, active)
    sentences += unfinished(facts, active)
    due_s = None if facts.schedule is None else facts.schedule.due_s
    if facts.schedule is not None:
        sentences += schedule(facts.schedule)
    return Explanation(
        subject=facts.group, state="active", sentences=tuple(sentences), expected_s=due_s
    )


def why_this(facts: GroupFacts) -> Iterator[str]:
    """Yield why the present holder has the token."""
    term = facts.terms[0] if facts.terms else None
    if term is None or term.term != facts.token.term:
        return
    if term.gap_s is None:
        yield f"It took the token because {cause(term)}."
    elif term.gap_s < 0:
        yield (
            f"It took the token because {cause(term)}; the program of {term.previous} was found"
            f" dead only {-term.gap_s:.2f} s after that."
        )
    else:
        yield (
            f"It took the token because {cause(term)}; nobody was active for {term.gap_s:.2f} s"
            " before."
        )


def trust(active: NodeFact) -> Iterator[str]:
    """Yield for how long the holder is trusted, or what follows from its silence."""
    left_s = active.lease_s - active.beat_age_s
    if active.beat_age_s <= LATE_BEATS * active.heartbeat_s:
        yield (
            f"Its last heartbeat is {age(active.beat_age_s)} old, and it is trusted for"
            f" {age(max(0.0, left_s))} more without another one."
        )
    else:
        stop = (
            f"its program is stopped {in_time(left_s)}"
            if left_s > 0
            else "its program is stopped by now, unless it has sent one that is still on its way"
        )
        after_s = max(0.0, active.liveness_s - active.beat_age_s)
        yield (
            f"Its last heartbeat is {age(active.beat_age_s)} old, and one is due every"
            f" {active.heartbeat_s:g} s. If no other one comes, {stop}, and another node may take"
            f" the token {in_time(after_s)}."
        )


def next_holders(facts: GroupFacts, active: NodeFact) -> Iterator[str]:
    """Yield who would take the token next, in the order of rule R4."""
    standbys = ranked(facts, active)
    if standbys:
        first, *others = standbys
        then = f", then {listed([node.node for node in others])}" if others else ""
        yield f"If it ends, {place(first)} is the next to take the token{then}."
    else:
        yield "No other live node may take the token: if it ends, nobody is active."
    yield from observers(facts)


def observers(facts: GroupFacts) -> Iterator[str]:
    """Yield the live nodes that never take the token."""
    names = [node.node for node in facts.nodes if node.live and node.priority == 0]
    if names:
        yield (
            f"{listed(names)} {verb(names, 'has', 'have')} priority 0 and never"
            f" {verb(names, 'takes', 'take')} it."
        )


def ranked(facts: GroupFacts, holder: NodeFact | None) -> list[NodeFact]:
    """Return the live nodes that may take the token, in the order in which they try."""
    roster = [
        Candidate(node=node.node, priority=node.priority)
        for node in facts.nodes
        if node.candidate and node.node not in facts.draining
    ]
    name = None if holder is None else holder.node
    names = {candidate.node for candidate in roster} - {name}
    able = [node for node in facts.nodes if node.node in names]
    return sorted(able, key=lambda node: rank(facts.group, node.node, name, roster))


def schedule(fact: ScheduleFact) -> Iterator[str]:
    """Yield when the schedule runs next, and how it ran last."""
    if fact.ended:
        why = f": {fact.end_reason}" if fact.end_reason else ""
        yield f"The schedule has ended{why}; nothing runs any more."
        return
    if fact.due_s is not None:
        yield (
            f"The next run is due {in_time(fact.due_s)}."
            if fact.due_s > 0
            else f"The next run has been due for {age(-fact.due_s)}."
        )
    if fact.fired_age_s is None:
        yield "No run has begun yet."
    else:
        outcome = fact.outcome or "it has not ended yet"
        yield f"The last run began {age(fact.fired_age_s)} ago: {outcome}."

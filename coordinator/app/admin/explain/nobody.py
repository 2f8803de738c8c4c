"""Explanation of a group in which nobody is active (or observes): why, and what happens next.

The reasons are looked at in the order in which they stop a takeover: no node at all, a database
that is not settled, no node that may take, a holder that may still act, a token that is free.
"""

from __future__ import annotations

from collections.abc import Iterator

from coordinator.app.admin.explain.facts import Explanation, GroupFacts, NodeFact, TermFact
from coordinator.app.admin.explain.planned import paused, plans
from coordinator.app.admin.explain.unsettled import waits
from coordinator.app.admin.explain.words import age, in_time, listed, place, since, verb
from coordinator.protocol.rules.restarts import CRASH_LOOP, RETIRED

#: Bound of a takeover beyond the interval and one heartbeat (promise Liveness).
SLACK_S = 0.1
#: A takeover that is this late, in heartbeats of the taker, has something in its way.
OVERDUE_BEATS = 3.0
#: A node whose program ended, or was not started, leaves the token to others for so many.
REFUSED_BEATS = 2.0


def explain_nobody(facts: GroupFacts, *, observes: bool) -> Explanation:
    """Return why nobody is active; observes: of a task group, why nobody observes."""
    age_s = vacant_s(facts)
    lasting = since(facts.now, age_s)
    if lasting:
        first = f"{facts.group}: nobody has {'observed' if observes else 'been active'}{lasting}."
    else:
        first = f"{facts.group}: nobody {'observes' if observes else 'is active'}."
    live = [node for node in facts.nodes if node.live]
    held = facts.token.held and facts.token.holds and facts.holder is not None
    idle = not live and not (held and facts.holder is not None and facts.holder.state == "dead")
    sentences, expected_s = _reasons(facts, live)
    return Explanation(
        subject=facts.group,
        state="idle" if idle else "leaderless",
        sentences=(first, *sentences),
        expected_s=expected_s,
    )


def vacant_s(facts: GroupFacts) -> float | None:
    """Return for how long nobody has been active, as far as the rows tell."""
    token, holder = facts.token, facts.holder
    if token.term == 0:
        return None
    if not token.held:
        return token.released_age_s
    if holder is not None and token.holds:
        return holder.beat_age_s
    last = facts.terms[0] if facts.terms else None
    return None if last is None or last.ended_age_s is None else last.ended_age_s


def _reasons(facts: GroupFacts, live: list[NodeFact]) -> tuple[list[str], float | None]:
    last = list(_last_holder(facts))
    if not live:
        return [*last, *_no_node(facts)], None
    if facts.wait is not None:
        wait = facts.wait
        return [*last, f"{_upper(waits(wait.timeline, wait.why, wait.left_s))}."], wait.left_s
    if facts.pause is not None and (facts.pause.kind == "pause takeovers" or not facts.hosts_tasks):
        return [*last, paused(facts, facts.pause)], facts.pause.until_s
    last += plans(facts)
    candidates = [node for node in live if node.candidate and node.node not in facts.draining]
    if not candidates and facts.draining:
        return [*last, "No other live node may take the token: start one, or undrain one."], None
    if not candidates:
        names = [node.node for node in live]
        only = (
            f"{listed(names)} {verb(names, 'lives, but has', 'live, but all have')} priority 0"
            f" and never {verb(names, 'takes', 'take')} the token: start a node with a higher"
            " priority."
        )
        return [*last, only], None
    if facts.hosts_tasks and facts.suspension is not None and facts.token.held:
        return [*last, suspended(facts)], None
    if facts.token.held and facts.token.holds and not _ended(facts.holder):
        sentences, expected_s = _held(facts, candidates)
    else:
        sentences, expected_s = _free(facts, candidates)
    return [*last, *sentences], expected_s


def _ended(holder: NodeFact | None) -> bool:
    return holder is None or holder.state == "ended"


def _last_holder(facts: GroupFacts) -> Iterator[str]:
    token, holder = facts.token, facts.holder
    if token.term == 0 or token.holder is None:
        yield "Nobody has ever held the token."
        return
    name = token.holder if holder is None else place(holder)
    last = facts.terms[0] if facts.terms else None
    if not token.held:
        yield f"The last holder, {name}, gave term {token.term} back{_because(last)}."
    elif holder is None:
        yield f"Term {token.term} is held by {name}, whose row was removed."
    elif not token.holds or holder.state == "ended":
        why = f": {holder.end_reason}" if holder.end_reason and not holder.live else ""
        yield f"The session of the last holder, {name}, term {token.term}, has ended{why}."
    else:
        yield (
            f"The last holder, {name}, term {token.term}, sent its last heartbeat"
            f" {age(holder.beat_age_s)} ago; its livenessCheckInterval is {holder.liveness_s:g} s."
        )


def _because(last: TermFact | None) -> str:
    return f": {last.end_reason}" if last is not None and last.end_reason else ""


def _no_node(facts: GroupFacts) -> Iterator[str]:
    silent = [node for node in facts.nodes if node.state == "dead"]
    if not facts.nodes:
        yield "The group has no node."
    elif silent:
        newest = min(silent, key=lambda node: node.beat_age_s)
        if newest is facts.holder and facts.token.holds:
            yield "No node of the group lives."
            yield _start(facts)
            return
        yield (
            f"No node of the group lives: {place(newest)} was the last one that sent a heartbeat,"
            f" {age(newest.beat_age_s)} ago."
        )
    else:
        left = [node for node in facts.nodes if node.ended_age_s is not None]
        for newest in sorted(left, key=lambda node: node.ended_age_s or 0.0)[:1]:
            why = f" ({newest.end_reason})" if newest.end_reason else ""
            yield (
                f"No node of the group lives: {place(newest)} was the last one that left,"
                f" {age(newest.ended_age_s or 0.0)} ago{why}."
            )
    yield _start(facts)


def _start(facts: GroupFacts) -> str:
    return f"Nothing happens until a node is started: `coord run -g {facts.group}`."


def _held(facts: GroupFacts, candidates: list[NodeFact]) -> tuple[list[str], float | None]:
    """Explain a holder that is silent, or that gave no heartbeat for too long already."""
    holder = facts.holder
    assert holder is not None, "the caller has looked"
    names = [node.node for node in candidates if node.node != holder.node]
    if not names:
        return [
            f"No other live node may take the token: start one, or let {holder.node} come back."
        ], None
    left_s = min(
        _silence_left_s(facts, holder, node) for node in candidates if node.node != holder.node
    )
    # Each candidate has watched since it joined, since the server's start, or since that heartbeat.
    if left_s > 0:
        lease = holder.lease_s - holder.beat_age_s
        may = (
            f"{holder.node} may still run its program: its lease is over {in_time(lease)}. "
            if lease > 0
            else f"The lease of {holder.node} is over, so its program is stopped. "
        )
        return [
            f"{may}{listed(names)} {verb(names, 'waits', 'wait')} until it has been silent for"
            f" the whole {holder.liveness_s:g} s, and {verb(names, 'takes', 'one of them takes')}"
            f" the token {in_time(left_s)} at the latest."
        ], left_s
    beat_s = min(node.heartbeat_s for node in candidates)
    late = f"The takeover by {listed(names)} is due"
    if -left_s <= OVERDUE_BEATS * beat_s:
        return [f"{late} now."], 0.0
    return [
        f"{late} for {age(-left_s)}: something is in its way. Read the log of"
        f" {listed(names)}; a transaction that holds the token's row stops a takeover, too."
    ], None


def _silence_left_s(facts: GroupFacts, holder: NodeFact, candidate: NodeFact) -> float:
    """Return the seconds until a candidate has surely waited for the holder's whole interval."""
    watched_s = min(holder.beat_age_s, candidate.joined_age_s, facts.server_age_s)
    return holder.liveness_s - watched_s + candidate.heartbeat_s + SLACK_S


def _free(facts: GroupFacts, candidates: list[NodeFact]) -> tuple[list[str], float | None]:
    """Explain a free token: a candidate takes it, unless all have to wait before they do."""
    left = {node.node: cool_left_s(facts, node) for node in candidates}
    ready = [node for node in candidates if left[node.node] == 0.0]
    if ready:
        names = [node.node for node in ready]
        beat_s = min(node.heartbeat_s for node in ready)
        free_s = facts.token.released_age_s or 0.0
        seen_s = min(free_s, max(node.joined_age_s for node in ready), facts.server_age_s)
        if not facts.token.held and seen_s > OVERDUE_BEATS * beat_s:
            return [
                f"The token is free, and {listed(names)} should have taken it {age(seen_s)} ago:"
                f" something is in the way. Read the log of {listed(names)}."
            ], None
        return [
            f"The token is free: {listed(names)} {verb(names, 'takes', 'one of them takes')} it"
            " within a heartbeat."
        ], beat_s
    waiting = [node for node in candidates if left[node.node] is not None]
    if not waiting:
        names = [node.node for node in candidates]
        return [
            f"{listed(names)} {verb(names, 'does', 'do')} not take the token again by"
            f" {verb(names, 'itself', 'themselves')}: restart {verb(names, 'it', 'one')}."
        ], None
    soonest = min(waiting, key=lambda node: left[node.node] or 0.0)
    left_s = left[soonest.node] or 0.0
    last = _own_release(facts, soonest)
    assert last is not None, "a node that waits has given the token back"
    why = (
        f"{soonest.node} is in a crash loop"
        if last.end_reason.startswith(CRASH_LOOP)
        else f"{soonest.node} gave the token back ({last.end_reason or 'no reason'})"
    )
    others = " before any other node" if len(candidates) > 1 else ", for no other live node may"
    return [f"{why}: it takes the token and starts its program again {in_time(left_s)}{others}."], (
        left_s
    )


def cool_left_s(facts: GroupFacts, node: NodeFact) -> float | None:
    """Return for how long a node leaves a free token to others; None: for its present life."""
    last = _own_release(facts, node)
    if last is None or last.ended_age_s is None:
        return 0.0
    if last.end_reason.endswith(RETIRED):
        return None
    short = last.end_reason.startswith("the program")
    whole_s = REFUSED_BEATS * node.heartbeat_s if short else node.liveness_s
    return max(0.0, whole_s - last.ended_age_s)


def _own_release(facts: GroupFacts, node: NodeFact) -> TermFact | None:
    """Return the last term that a node gave back in its present session, if it did."""
    own = (term for term in facts.terms if term.node == node.node)
    last = next(own, None)
    if last is None or last.end_how != "release" or last.ended_age_s is None:
        return None
    return last if last.ended_age_s <= node.joined_age_s else None


def suspended(facts: GroupFacts) -> str:
    """Return the sentence about a suspended observer."""
    fact = facts.suspension
    assert fact is not None, "the caller has looked"
    by = f" by {fact.by}" if fact.by else ""
    why = f" ({fact.reason})" if fact.reason else ""
    return (
        f"The observer has been suspended{since(facts.now, fact.age_s)}{by}{why}: until"
        f" `coord observer resume -g {facts.group}` no session is ended, and no task of a dead node"
        " is taken over."
    )


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]

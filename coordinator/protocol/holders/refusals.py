"""Waits that end without a token: their time is over, they do not wait, or nothing answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from coordinator.protocol.holders.events import Refuse, Why, Wish
from coordinator.protocol.holders.state import Holders
from coordinator.protocol.messages.holder_requests import Exchange
from coordinator.protocol.rules.epoch import may_act

Step = tuple[Holders, tuple[Refuse, ...]]

#: Seconds after the end of its time for which a wait hears of an answer first. A request may be
#: patient for a whole lease, which its caller is not.
ANSWER_MAX_S = 5.0


def refusals(holders: Holders, now: float) -> Step:
    """Refuse the waits that are over.

    A wait whose time is over is tried once all the same, while the database answers; one whose
    exchange is under way hears of its outcome first, for ANSWER_MAX_S. A token that is taken after
    that is given back.
    """
    refused = []
    for wish in _judged(holders, now):
        refusal = _refusal(holders, wish, now)
        if refusal is not None:
            refused.append(refusal)
    if not refused:
        return holders, ()
    over = {refusal.number for refusal in refused}
    wishes = holders.wishes.without(over)
    return replace(holders, wishes=wishes, tried=holders.tried - over), tuple(refused)


def _judged(holders: Holders, now: float) -> Iterable[Wish]:
    """Return the waits that may have to be refused; all others go on, whatever is known."""
    if holders.node.leaving is not None:
        return tuple(holders.wishes)
    found = {wish.number: wish for wish in holders.wishes.over(now)}
    for token, sighting in holders.sightings.items():
        if sighting.now.is_task:
            found |= holders.wishes.of(token)
    return tuple(found.values())


def _refusal(holders: Holders, wish: Wish, now: float) -> Refuse | None:
    node, number = holders.node, wish.number
    if node.leaving is not None:
        return Refuse(number, Why.CLOSED, node.leaving.trouble or "the coordinator is closed")
    sighting = holders.sightings.get(wish.token)
    if sighting is not None and sighting.now.is_task:
        text = f"{wish.token} is the token of a task: give this one another name"
        return Refuse(number, Why.IS_TASK, text)
    late = now >= wish.until + ANSWER_MAX_S and node.pending is not None
    if (wish.waits and now < wish.until) or (_under_way(holders, wish) and not late):
        return None
    if node.failures > 0 or (late and number not in holders.tried):
        text = f"the database does not answer, so {wish.token} cannot be taken"
        return Refuse(number, Why.UNREACHABLE, text)
    mine = _mine(holders, wish)
    if mine:
        text = f"{wish.token} is held by {node.policy.node}, which is this process: {mine}"
        return Refuse(number, Why.HELD, text)
    if node.session is None and node.run is not None:
        text = f"{wish.token} cannot be taken: this process lost its session, and its bodies run"
        return Refuse(number, Why.HELD, text)
    if number not in holders.tried:
        return _untried(holders, wish)
    text = f"{wish.token} could not be taken in time"
    if sighting is not None:
        seen = sighting.now
        where = f" on {seen.where}" if seen.where else ""
        text = (
            f"{wish.token} is held by {seen.node}{where} (term {seen.term}, last heartbeat"
            f" {seen.age_s:.1f} s ago)"
        )
    return Refuse(number, Why.HELD, text)


def _under_way(holders: Holders, wish: Wish) -> bool:
    request = holders.node.pending
    return isinstance(request, Exchange) and any(w.token == wish.token for w in request.wants)


def _mine(holders: Holders, wish: Wish) -> str:
    """Return which code of this process goes before a wait; empty if none does."""
    for one in holders.held.values():
        if one.token == wish.token:
            return f"term {one.term}" + (" was lost, and its body runs" if one.lost else "")
    if any(one.token == wish.token for one in holders.endings):
        return "it is being given back"
    return "" if holders.wishes.first(wish.token) == wish else "others wait for it"


def _untried(holders: Holders, wish: Wish) -> Refuse | None:
    """Refuse a wait that was never tried only where nothing may be taken at all."""
    view = holders.node.view
    if view is None or may_act(view):
        return None
    text = (
        f"{wish.token} cannot be taken yet: after a failover or a restart of the database older"
        " holdings are waited out first"
    )
    return Refuse(wish.number, Why.HELD, text)

"""The next exchange with the database, and the moments at which one is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from coordinator.protocol.holders.refusals import ANSWER_MAX_S
from coordinator.protocol.holders.state import Holders, Sighting
from coordinator.protocol.messages.holder_requests import Exchange, Give, Silent, Want
from coordinator.protocol.messages.requests import NodeSeen
from coordinator.protocol.node.request_backoff import is_held
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules.epoch import may_act
from coordinator.protocol.rules.terms import next_term
from coordinator.protocol.rules.watch import kept, silent_at

#: Tokens that one exchange names: more would make one statement long, and wait for its locks.
TOKENS_MAX = 100


def next_exchange(holders: Holders, now: float) -> tuple[Holders, Exchange | None]:
    """Choose what to give back, to take and to look at; None when nothing is due.

    Nothing is taken while holdings are in doubt, on an identity that is not settled (E2), or where
    terms have not been raised after a return to an earlier branch (N1).
    """
    node = holders.node
    if node.session is None or node.view is None or node.pending is not None:
        return holders, None
    if node.finished or now < node.retry_at:
        return holders, None
    wants = tuple(_wants(holders, now))
    request = Exchange(
        session=node.session,
        branch=node.view.identity.branch,
        gives=tuple(_gives(holders, now)),
        wants=wants[:TOKENS_MAX],
        looks=tuple(_looks(holders, now, {want.token for want in wants})),
        own=not holders.current,
    )
    due = request.gives or request.wants or request.looks or request.own
    if not due or is_held(node, request, now):
        return holders, None
    more = len(wants) > TOKENS_MAX
    return replace(holders, hinted=more), request


def moments(holders: Holders, now: float) -> Iterator[float]:
    """Yield the moments at which the state alone leads to a command; of the waits, the next."""
    yield holders.wishes.next_end(now)
    yield holders.wishes.next_end(now - ANSWER_MAX_S) + ANSWER_MAX_S
    for one in holders.held.values():
        yield one.until
    node = holders.node
    if node.pending is not None or node.session is None:
        return
    due = [each.until for each in node.held]
    if holders.wishes or holders.sightings:
        due.append(holders.look_at)
    due += [_silent_at(node, one) for one in holders.sightings.values()]
    for moment in due:
        yield max(moment, node.retry_at)


def _gives(holders: Holders, now: float) -> Iterator[Give]:
    for one in holders.endings[:TOKENS_MAX]:
        yield Give(
            token=one.token,
            term=one.term,
            reason=one.reason,
            ended_s=max(0.0, now - one.ended_at),
        )


def _wants(holders: Holders, now: float) -> Iterator[Want]:
    node = holders.node
    if not _may_take(holders):
        return
    due = holders.hinted or now >= holders.look_at
    for wish in holders.fronts():
        sighting = holders.sightings.get(wish.token)
        silent = None if sighting is None else _silent(node, sighting, now)
        if silent is None and not due:
            continue
        seen_term = 0 if sighting is None else sighting.now.term
        yield Want(
            token=wish.token,
            least_term=next_term(seen_term, holders.remembered.get(wish.token, 0)),
            silent=silent,
            watched_s=0.0 if sighting is None or silent is None else now - sighting.watch.since,
        )


def _may_take(holders: Holders) -> bool:
    node = holders.node
    return (
        holders.current
        and node.leaving is None
        and node.view is not None
        and may_act(node.view)
        and not (node.epoch is not None and node.epoch.returned)
    )


def _looks(holders: Holders, now: float, wanted: set[str]) -> Iterator[str]:
    """Yield the tokens whose holders are watched, once a heartbeat."""
    if now >= holders.look_at:
        yield from sorted(token for token in holders.sightings if token not in wanted)


def _silent(node: Node, sighting: Sighting, now: float) -> Silent | None:
    """Return the holder if it has shown nothing new for its own interval (O4)."""
    seen, watch = sighting.now, sighting.watch
    if now < _silent_at(node, sighting) or not kept(watch, now, node.timing.gap_max_s):
        return None
    if seen.node is None or seen.session is None:
        return None
    return Silent(
        node=seen.node,
        session=seen.session,
        term=seen.term,
        beat=seen.beat if seen.known else None,
    )


def _silent_at(node: Node, sighting: Sighting) -> float:
    """Return the moment at which the holder counts as dead."""
    seen = sighting.now
    longest_s = node.epoch.longest_liveness_s if node.epoch else node.timing.liveness_s
    row = NodeSeen(
        session=seen.session,
        beat=seen.beat,
        liveness_s=seen.liveness_s,
        ended=seen.ended,
        age_s=seen.age_s,
    )
    return silent_at(sighting.watch, row if seen.known else None, longest_s)

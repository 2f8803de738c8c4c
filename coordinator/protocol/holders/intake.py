"""Intake of events: wishes, ends of bodies, answers to exchanges, and the end of the session."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.holders.events import (
    BodyEnded,
    Command,
    Extend,
    GivenBack,
    Grant,
    Lose,
    Refuse,
    Why,
    Wish,
    Wished,
)
from coordinator.protocol.holders.state import Ending, Held, Holders, Sighting, without
from coordinator.protocol.messages.holder_requests import Exchange
from coordinator.protocol.messages.requests import Answer
from coordinator.protocol.node.events import Answered
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules.watch import NO_BEAT, Sight, watched

Step = tuple[Holders, tuple[Command, ...]]

#: A token that nobody waits for is watched for this many intervals of its holder, so that tries
#: that are each shorter than one interval find a dead holder together (U6).
WATCHED_INTERVALS = 2.0
#: Share of a lease that must be left when a token is handed over. No program has to be told to end
#: before trust does, as in T5; but a body that begins should not be over at once.
FRESH_SHARE = 1 / 2
ENDED = "the block ended"
UNWANTED = "nobody waited for it any more"
STALE = "trust ran short before it was handed over"
OTHER = "the database names another holding"


def wished(holders: Holders, event: Wished) -> Step:
    """Take a wait in; a process that is closing takes none."""
    if holders.node.leaving is not None or holders.node.finished:
        text = "the coordinator is closed"
        return holders, (Refuse(event.wish.number, Why.CLOSED, text),)
    return replace(holders, wishes=holders.wishes.with_one(event.wish), hinted=True), ()


def body_ended(holders: Holders, event: BodyEnded) -> Step:
    """Forget a wait, or give back what a body had; a token of a session that is over is nobody's.

    The token is released after the body has ended, never before (U2).
    """
    number = event.number
    if number in holders.wishes:
        wishes = holders.wishes.without((number,))
        return replace(holders, wishes=wishes, tried=holders.tried - {number}), (GivenBack(number),)
    one = holders.held.get(number)
    if one is None:
        return holders, ()
    holders = without(holders, number)
    if one.session != holders.node.session:
        return replace(holders, hinted=True), (GivenBack(number),)
    ending = Ending(
        token=one.token,
        term=one.term,
        session=one.session,
        reason=one.lost or ENDED,
        ended_at=event.now,
        number=number,
    )
    return replace(holders, endings=(*holders.endings, ending)), ()


def session_over(holders: Holders, before: Node, now: float) -> Step:
    """Lose every holding of a session that is over; its bodies go on until they end (U5)."""
    if before.session is None or holders.node.session == before.session:
        return holders, ()
    until = max(now, before.trusted_until - before.timing.lease_s + before.timing.liveness_s)
    reason = (
        "no heartbeat was acknowledged in time"
        if now >= before.trusted_until
        else "the session was ended by another node"
    )
    held = {
        number: one if one.lost else replace(one, lost=reason, until=until)
        for number, one in holders.held.items()
    }
    lost = tuple(Lose(one.number, reason) for one in holders.live())
    given = tuple(GivenBack(one.number) for one in holders.endings if one.number is not None)
    return replace(holders, held=held, endings=()), (*lost, *given)


def in_doubt(holders: Holders) -> Holders:
    """Note that an answer was lost, or that the database is another one (U4, E5)."""
    return replace(holders, current=False)


def exchanged(holders: Holders, event: Answered, request: Exchange) -> Step:
    """Apply the answer to an exchange."""
    answer, now = event.answer, event.now
    if request.session != holders.node.session:
        return holders, ()
    if not answer.done:
        # A heartbeat shows that the session is over, and must come before anything else.
        return replace(holders, node=replace(holders.node, beat_at=now)), ()
    holders, given = _given(holders, request)
    holders = _seen(holders, answer, now)
    holders, lost = _read(holders, request, answer, now)
    holders, granted = _taken(holders, answer, now)
    told = (holders.wishes.of(want.token) for want in request.wants)
    holders = replace(
        holders,
        tried=holders.tried.union(*told),
        look_at=now + holders.node.timing.heartbeat_s,
    )
    return holders, (*given, *lost, *granted)


def extended(holders: Holders, before: Holders) -> tuple[Command, ...]:
    """Extend trust in the holdings that were read since the last doubt (U1, U4)."""
    node = holders.node
    news = node.trusted_until > before.node.trusted_until or not before.current
    if node.session is None or not holders.current or not news:
        return ()
    return (Extend(node.trusted_until),) if holders.live() else ()


def _given(holders: Holders, request: Exchange) -> Step:
    done = {(give.token, give.term) for give in request.gives}
    over = [one for one in holders.endings if (one.token, one.term) in done]
    left = tuple(one for one in holders.endings if one not in over)
    told = tuple(GivenBack(one.number) for one in over if one.number is not None)
    # Another wait of this process may be for a token that was just given back.
    hinted = holders.hinted or bool(over)
    return replace(holders, endings=left, hinted=hinted), told


def _seen(holders: Holders, answer: Answer, now: float) -> Holders:
    """Watch the holders of what was looked at (O1 to O4)."""
    sightings = dict(holders.sightings)
    wanted = holders.wishes.queues
    for seen in answer.tokens:
        if (seen.free and not seen.is_task) or seen.session == holders.node.session:
            sightings.pop(seen.token, None)
            continue
        before = sightings.get(seen.token)
        beat = seen.beat if seen.known else NO_BEAT
        sight = Sight(answer.view.identity, seen.term, seen.session, beat)
        gap_s = holders.node.timing.gap_max_s
        watch = watched(None if before is None else before.watch, sight, now, gap_s)
        liveness_s = seen.liveness_s or holders.node.timing.liveness_s
        until = now + WATCHED_INTERVALS * liveness_s
        if before is not None and seen.token not in wanted:
            until = before.until
        sightings[seen.token] = Sighting(now=seen, watch=watch, until=until)
    for token, _ in answer.taken:
        sightings.pop(token, None)
    kept = {token: one for token, one in sightings.items() if now < one.until}
    return replace(holders, sightings=kept)


def _read(holders: Holders, request: Exchange, answer: Answer, now: float) -> Step:
    """Compare the holdings with all that the database has of this session (L2, U4).

    What is held and was handed to no body is given back: it was taken without an answer, or a
    failover has lost that it was given back.
    """
    if holders.current or not request.own:
        return holders, ()
    session = holders.node.session
    assert session is not None, "an answer without a session is not read"
    rows = {(one.token, one.term) for one in answer.tokens if one.session == session}
    held, lost = dict(holders.held), []
    for one in holders.live():
        if (one.token, one.term) not in rows:
            held[one.number] = replace(one, lost=OTHER, until=now)
            lost.append(Lose(one.number, OTHER))
    known = {(one.token, one.term) for one in holders.held.values()}
    known |= {(one.token, one.term) for one in holders.endings}
    unheard = tuple(
        Ending(token=token, term=term, session=session, reason=UNWANTED, ended_at=now)
        for token, term in sorted(rows - known)
    )
    return replace(
        holders,
        held=held,
        endings=(*holders.endings, *unheard),
        current=True,
        hinted=True,
    ), tuple(lost)


def _taken(holders: Holders, answer: Answer, now: float) -> Step:
    """Hand what was taken to the code that waits longest, if trust is fresh (T5, U1)."""
    node, granted = holders.node, []
    session = node.session
    assert session is not None, "an exchange of a session that is over takes nothing"
    left_s = node.trusted_until - now
    trusted = holders.current and left_s >= FRESH_SHARE * node.timing.lease_s
    for token, term in answer.taken:
        wish = holders.wishes.first(token)
        remembered = {**holders.remembered, token: max(term, holders.remembered.get(token, 0))}
        holders = replace(holders, remembered=remembered)
        if wish is None or not trusted:
            ending = Ending(
                token=token,
                term=term,
                session=session,
                reason=UNWANTED if wish is None else STALE,
                ended_at=now,
            )
            holders = replace(holders, endings=(*holders.endings, ending))
            continue
        holders, grant = _grant(holders, wish, term, session)
        granted.append(grant)
    return holders, tuple(granted)


def _grant(holders: Holders, wish: Wish, term: int, session: str) -> tuple[Holders, Grant]:
    wishes = holders.wishes.without((wish.number,))
    one = Held(number=wish.number, token=wish.token, term=term, session=session)
    holders = replace(
        holders,
        wishes=wishes,
        tried=holders.tried - {wish.number},
        held={**holders.held, wish.number: one},
    )
    return holders, Grant(
        number=wish.number,
        token=wish.token,
        term=term,
        session=session,
        trusted_until=holders.node.trusted_until,
    )


__all__ = [
    "body_ended",
    "exchanged",
    "extended",
    "in_doubt",
    "session_over",
    "wished",
]

"""Exchanges of tokens on a MemoryDatabase: what coordinator/store/node/holders.py promises."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.messages.holder_requests import Exchange, Give, TokenNow, Want
from coordinator.protocol.messages.requests import Answer, NodeFacts, TokenSeen
from tests.support.fakes import memory_sessions, memory_token
from tests.support.fakes.memory_rows import NEVER_HELD

if TYPE_CHECKING:
    from tests.support.fakes.memory_database import MemoryDatabase


def exchange(database: MemoryDatabase, facts: NodeFacts, request: Exchange) -> Answer:
    """Give back, take, and show the rest."""
    given = [give for give in request.gives if _give(database, request, give)]
    if given:
        database.notify_holders(facts.group)
    lives = database.session_lives(facts.group, facts.node, request.session)
    may_take = (
        lives and database.is_settled(facts.group) and request.branch == database.epoch().branch
    )
    taken = {}
    for want in request.wants if may_take else ():
        if want.token == facts.group and not database.may_take_now(facts):
            continue  # planned changes are of the group's own token (A2, A3)
        term = _take(database, facts, request, want)
        if term:
            taken[want.token] = term
    named = {*(want.token for want in request.wants), *request.looks}
    if request.own:
        held = database.tokens.items()
        named |= {name for name, token in held if token.session == request.session}
    named -= taken.keys()
    return Answer(
        done=lives,
        view=database.view(facts),
        taken=tuple(taken.items()),
        tokens=tuple(_now(database, facts, token) for token in sorted(named)),
    )


def _give(database: MemoryDatabase, request: Exchange, give: Give) -> bool:
    token = database.tokens.get(give.token, NEVER_HELD)
    if (token.session, token.term) != (request.session, give.term):
        return False
    database.tokens[give.token] = replace(token, session=None)
    key = give.token, give.term
    if key in database.history:
        database.history[key] = replace(
            database.history[key], ended=True, end_how="release", end_reason=give.reason
        )
    return True


def _take(database: MemoryDatabase, facts: NodeFacts, request: Exchange, want: Want) -> int:
    database.ensure_token(want.token)
    token = database.tokens[want.token]
    if _is_task(database, facts, want.token) or not database.waited_out(facts.group, want.token):
        return 0
    how, silent = ("release" if token.term else "first"), want.silent
    if token.session is not None:
        how = "takeover"
        if not _over(database, facts, token):
            if silent is None or silent.session != token.session:
                return 0
            row = database.nodes.get((facts.group, silent.node))
            if row is not None:
                matches = row.session == silent.session and not row.ended
                if not matches or not database.beat_matches(row, silent.beat or 0):
                    return 0
                memory_sessions.end_session(database, facts, silent.node, "silent")
    term = database.next_term(facts.group, token, want.least_term)
    memory_token.grant(
        database,
        want.token,
        holder=(facts.node, request.session),
        term=term,
        how=(how, ""),
        end_how="takeover",
    )
    return term


def _over(database: MemoryDatabase, facts: NodeFacts, token: TokenSeen) -> bool:
    row = database.nodes.get((facts.group, token.node or ""))
    return row is not None and (row.ended or row.session != token.session)


def _is_task(database: MemoryDatabase, facts: NodeFacts, token: str) -> bool:
    row = database.tasks.get((facts.group, token.removeprefix(f"{facts.group}/")))
    return row is not None and not row.deleted


def _now(database: MemoryDatabase, facts: NodeFacts, name: str) -> TokenNow:
    token = database.tokens.get(name, NEVER_HELD)
    row = None if token.node is None else database.nodes.get((facts.group, token.node))
    seen = None if row is None else database.seen(row)
    return TokenNow(
        token=name,
        term=token.term,
        node=token.node,
        session=token.session,
        known=row is not None,
        ended=_over(database, facts, token),
        beat=0 if seen is None else seen.beat,
        liveness_s=0.0 if seen is None else seen.liveness_s,
        heartbeat_s=1.0 if seen is None else seen.heartbeat_s,
        age_s=0.0 if seen is None else seen.age_s,
        where="" if seen is None else seen.where,
        is_task=_is_task(database, facts, name),
    )

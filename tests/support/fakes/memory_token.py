"""Tokens of a MemoryDatabase: taken from nobody but the free and the silent, and given back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coordinator.protocol.messages.requests import Answer, NodeFacts, Release, Take, TokenSeen
from coordinator.protocol.messages.task_requests import EndSession
from tests.support.fakes import memory_planned, memory_sessions
from tests.support.fakes.memory_rows import NEVER_HELD, HistoryRow

if TYPE_CHECKING:
    from tests.support.fakes.memory_database import MemoryDatabase


def take(database: MemoryDatabase, facts: NodeFacts, request: Take) -> Answer:
    """Take the token that the node races for, if it is as it was seen."""
    group, name = facts.group, facts.token
    # A row that a restore lost under an open connection cannot be taken.
    token = database.tokens.get(name, NEVER_HELD)
    ends_seen = request.seen_session is not None and request.seen_beat is not None
    allowed = (
        name in database.tokens
        and database.session_lives(group, facts.node, request.session)
        and (not ends_seen or database.may_end_seen(group, request))
        and not (ends_seen and facts.hosts_tasks and database.is_suspended(group))
        and token.term == request.seen_term
        and token.session == request.seen_session
        and ((ends_seen and token.node == request.seen_node) or database.is_free(group, token))
        and database.branch_matches(request)
        and database.is_settled(group)
        and database.waited_out(group, name)
        and database.may_take_now(facts)
    )
    if not allowed:
        return database.told(facts, False)
    memory_sessions.beat(database, facts, request.session)
    term = database.next_term(group, token, request.next_term)
    if ends_seen:
        memory_sessions.end_session(database, facts, request.seen_node or "", request.reason)
    if ends_seen and facts.hosts_tasks:
        # The first decision of the observer to be.
        ended = EndSession(
            node=request.seen_node or "",
            session=request.seen_session or "",
            beat=request.seen_beat or 0,
            reason=request.reason,
        )
        database.note_decisions(group, facts.node, term, (ended,))
    grant(
        database,
        name,
        holder=(facts.node, request.session),
        term=term,
        how=(request.how, request.reason),
        end_how="takeover" if ends_seen else "session ended",
    )
    database.notify(group)
    memory_planned.end_by_take(database, facts, token.node, term, followed=ends_seen)
    stateless = () if database.states.get(name) else ((name, term),)
    return Answer(done=True, view=database.view(facts), term=term, stateless=stateless)


def grant(
    database: MemoryDatabase,
    name: str,
    *,
    holder: tuple[str, str],
    term: int,
    how: tuple[str, str],
    end_how: str,
) -> None:
    """Write the token row and its history.

    Shapes: holder is (node, session), how is (word, reason).
    """
    token, (node, session) = database.tokens[name], holder
    _close_history(database, name, token.term, end_how, how[1])
    database.tokens[name] = TokenSeen(
        term=term, node=node, session=session, term_floor=token.term_floor
    )
    database.history[name, term] = HistoryRow(
        term=term, node=node, session=session, how=how[0], reason=how[1], from_node=token.node
    )


def release(database: MemoryDatabase, facts: NodeFacts, request: Release) -> bool:
    """Give the token that the node raced for back."""
    done = give_back(database, facts.token, request.session, request.term, request.reason)
    if done:
        database.notify(facts.group)
    return done


def give_back(
    database: MemoryDatabase, name: str, session: str, term: int | None, reason: str
) -> bool:
    """Free a token of the session, under that term or under any."""
    token = database.tokens.get(name, NEVER_HELD)
    if token.session != session or (term is not None and token.term != term):
        return False
    database.tokens[name] = replace(token, session=None)
    _close_history(database, name, token.term, "release", reason)
    return True


def raise_floor(database: MemoryDatabase, name: str, term: int) -> bool:
    """Keep the row's next term above one that some node remembers."""
    token = database.tokens.get(name)
    if token is None:
        return False
    if term > token.term_floor:
        database.tokens[name] = replace(token, term_floor=term)
    return True


def _close_history(database: MemoryDatabase, name: str, term: int, how: str, reason: str) -> None:
    row = database.history.get((name, term))
    if row is not None and not row.ended:
        database.history[name, term] = replace(row, ended=True, end_how=how, end_reason=reason)

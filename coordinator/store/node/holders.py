"""Exchange of tokens by a process that holds them for its own code: one call of the schema.

  1. what is given back becomes free, its history is closed, and waiters are notified;
  2. of the wanted tokens, a free one is taken; one whose holder was watched for its whole interval
     is taken after that session has been ended, if it still shows the beat that was seen (R1);
  3. everything that was named and not taken is shown as it is now.

READ COMMITTED, one statement, which the server commits: row conflicts and the term that was read
carry the decision (ADR 27). A token that a fence has locked is passed over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, LiteralString

from coordinator.errors import OutcomeUnknownError
from coordinator.protocol.messages.holder_requests import Exchange, TokenNow
from coordinator.protocol.messages.requests import Answer, View
from coordinator.store.node.fence_locks import TERMINATE_FENCES, push_fences_aside
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, Params, Row, alone, read_committed
from coordinator.store.sql.view import Place, channel_of, read_view

EXCHANGE: LiteralString = """
SELECT * FROM {schema}.coord_exchange(
    p_system => %(system)s::bigint,
    p_branch => %(branch)s::uuid,
    p_group => %(group)s,
    p_node => %(node)s,
    p_mine => %(mine)s::uuid,
    p_channel => %(channel)s,
    p_waits => %(waits)s,
    p_given => %(given)s::text[],
    p_given_channels => %(given_channels)s::text[],
    p_given_terms => %(given_terms)s::bigint[],
    p_given_reasons => %(given_reasons)s::text[],
    p_given_ms => %(given_ms)s::bigint[],
    p_wanted => %(wanted)s::text[],
    p_least_terms => %(least_terms)s::bigint[],
    p_silent_nodes => %(silent_nodes)s::text[],
    p_silent => %(silent)s::uuid[],
    p_silent_beats => %(silent_beats)s::bigint[],
    p_watched_ms => %(watched_ms)s::bigint[],
    p_looked => %(looked)s::text[],
    p_own => %(own)s
)
"""


def exchange(cursor: Cursor, place: Place, request: Exchange, *, known: View | None) -> Answer:
    """Give back, take and look.

    known: the last view of this connection; None: it is read anew, in one transaction where a
    pooler may lead elsewhere.
    Errors: OutcomeUnknownError when the connection turns out not to be one's own.
    """
    statement, params = named(EXCHANGE, place.schema), _params(place, request)

    def body(inside: Cursor) -> tuple[Row | None, View]:
        return inside.execute(statement, params).fetchone(), read_view(inside, place)

    view = known
    if cursor.preamble:
        answered = read_committed(cursor, body)
        assert answered is not None, "this body always answers"
        row, view = answered
    else:
        row = alone(cursor, statement, params, prepare=True)
        if row is not None and row[0] != cursor.connection.info.backend_pid:
            raise OutcomeUnknownError("a pooler led us to another process of a server")
    assert row is not None, "the function answers with one row"
    _, lives, passed_over, taken, terms, rest = row
    if passed_over:
        _end_fences(cursor, place, request)
    return Answer(
        done=lives,
        view=view or read_view(cursor, place),
        taken=tuple(zip(taken, terms, strict=True)),
        tokens=tuple(_token_now(one) for one in rest or ()),
    )


def _end_fences(cursor: Cursor, place: Place, request: Exchange) -> None:
    """End the fenced transactions that hold a token up (F2); give back what they held up.

    A token that was to be taken is found free by the next exchange.
    """
    gives = replace(request, wants=(), looks=(), own=False)

    def give(inside: Cursor) -> bool:
        push_fences_aside(inside, place, request.session, [give.token for give in gives.gives])
        inside.execute(named(EXCHANGE, place.schema), {**_params(place, gives), "waits": True})
        return True

    if request.gives:
        read_committed(cursor, give)
    for want in request.wants:
        if want.silent is not None:
            seen = {"seen": want.silent.session, "seen_beat": want.silent.beat}
            params = place.params(schema=place.schema, mine=request.session, **seen)
            params |= {"token": want.token, "seen_term": want.silent.term}
            cursor.execute(named(TERMINATE_FENCES, place.schema), params)


def _params(place: Place, request: Exchange) -> Params:
    gives, wants = request.gives, request.wants
    silent = [want.silent for want in wants]
    lists: dict[str, list[Any]] = {
        "given": [give.token for give in gives],
        # Of the nodes that race for that token alone.
        "given_channels": [channel_of(place.schema, give.token) for give in gives],
        "given_terms": [give.term for give in gives],
        "given_reasons": [give.reason for give in gives],
        "given_ms": [round(1000 * give.ended_s) for give in gives],
        "wanted": [want.token for want in wants],
        "least_terms": [want.least_term for want in wants],
        "silent_nodes": [None if one is None else one.node for one in silent],
        "silent": [None if one is None else one.session for one in silent],
        "silent_beats": [None if one is None else one.beat for one in silent],
        "watched_ms": [round(1000 * want.watched_s) for want in wants],
        "looked": list(request.looks),
    }
    return place.params(
        mine=request.session,
        branch=request.branch or None,
        waits=False,
        own=request.own,
        # NULL for an empty list: neither side has an array to write or to read.
        **{name: values or None for name, values in lists.items()},
    )


def _token_now(one: list[Any]) -> TokenNow:
    token, term, node, session, known, ended, beat, liveness_ms, heartbeat_ms = one[:9]
    age_s, where, is_task = one[9:]
    return TokenNow(
        token=token,
        term=term,
        node=node,
        session=session,
        known=known,
        ended=ended,
        beat=beat,
        liveness_s=liveness_ms / 1000,
        heartbeat_s=heartbeat_ms / 1000,
        age_s=age_s or 0.0,
        where=where or "",
        is_task=is_task,
    )

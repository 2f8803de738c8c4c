"""Ends of planned changes, and intervals, as nodes write them; store/admin asks for both."""

from __future__ import annotations

from typing import LiteralString

from coordinator.protocol.messages.planned import EndPlanned, TellInterval
from coordinator.protocol.messages.requests import Answer
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, read_committed
from coordinator.store.sql.view import Place, read_view, write_and_look

#: The server's clock says whether the time of a change is over, whatever the node's own said.
END: LiteralString = """
UPDATE {schema}.planned_change
SET outcome = %(outcome)s, outcome_reason = %(reason)s, ended_by = %(node)s
WHERE id = %(id)s AND group_id = %(group)s AND outcome IS NULL
    AND (%(outcome)s <> 'expired' OR until_at <= clock_timestamp())
"""


def end_planned(cursor: Cursor, place: Place, request: EndPlanned) -> Answer:
    """End a change that is open; not done when it is not, or its time is not over yet."""
    params = place.params(id=request.id, outcome=str(request.outcome), reason=request.reason)
    return write_and_look(cursor, place, named(END, place.schema), params)


#: Agrees on the interval as well, when this was the last live node that lacked it.
TELL: LiteralString = """
SELECT {schema}.coord_tell_interval(
    %(group)s, %(node)s, %(mine)s::uuid, %(change)s::bigint, %(liveness_ms)s::integer,
    %(lease_ms)s::integer
)
"""


def carry_out(cursor: Cursor, place: Place, request: EndPlanned | TellInterval) -> Answer:
    """End a planned change, or write the interval of this node's session."""
    if isinstance(request, TellInterval):
        return tell_interval(cursor, place, request)
    return end_planned(cursor, place, request)


def tell_interval(cursor: Cursor, place: Place, request: TellInterval) -> Answer:
    """Write the interval; not done when another one was asked for since, or the session is over."""
    params = place.params(
        mine=request.session,
        change=request.change,
        liveness_ms=round(1000 * request.liveness_s),
        lease_ms=round(1000 * request.lease_s),
    )

    def body(cursor: Cursor) -> Answer:
        cursor.execute(named(TELL, place.schema), params)
        row = cursor.fetchone()
        assert row is not None, "a function call is one row"
        return Answer(done=bool(row[0]), view=read_view(cursor, place))

    answer = read_committed(cursor, body)
    assert answer is not None, "this body always answers"
    return answer

"""Ends of planned changes, as nodes record them; asking is the administrator's (store/admin)."""

from __future__ import annotations

from typing import LiteralString

from coordinator.protocol.messages.planned import EndPlanned
from coordinator.protocol.messages.requests import Answer
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor
from coordinator.store.sql.view import Place, write_and_look

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

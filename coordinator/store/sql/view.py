"""View that answers show: server, token, holder, group, read in one statement by keys only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, LiteralString

from coordinator.protocol.messages.requests import Answer, Identity, NodeSeen, TokenSeen, View
from coordinator.store.sql.planned_columns import planned_of
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor, Params, read, read_committed

READ_VIEW: LiteralString = "SELECT {view_columns} {view_from}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Schema, group, node and server of the statements of one connection.

    token: the row of token_holder that the node races for; the node beats in its group.
    """

    schema: str
    group: str
    node: str
    token: str
    hosts_tasks: bool
    system_identifier: int
    started_at: int  #: of the server, as the identity of every answer has it
    channel: str  #: for LISTEN

    def params(self, **more: object) -> dict[str, object]:
        """Return the parameters that every statement may use, and `more`."""
        return {
            "system": self.system_identifier,
            "group": self.group,
            "token": self.token,
            "hosts_tasks": self.hosts_tasks,
            "node": self.node,
            "channel": self.channel,
            **more,
        }


@cache
def channel_of(schema: str, group: str) -> str:
    """Return the NOTIFY channel of a group; a hash, because names may be longer than a channel.

    The database's own triggers compute the same (coord_channel).
    """
    digest = hashlib.sha256(f"{schema}\0{group}".encode()).digest()
    return f"coord_{digest[:10].hex()}"


def read_view(cursor: Cursor, place: Place) -> View:
    """Read the view in the transaction that is open, or in one of its own."""
    (row,) = read(cursor, named(READ_VIEW, place.schema), place.params())
    return view_of(row, place.system_identifier)


def write_and_look(cursor: Cursor, place: Place, statement: bytes, params: Params) -> Answer:
    """Run one compare-and-set and read the view, in one transaction; done when it met a row."""

    def body(cursor: Cursor) -> Answer:
        cursor.execute(statement, params)
        return Answer(done=cursor.rowcount > 0, view=read_view(cursor, place))

    answer = read_committed(cursor, body)
    assert answer is not None, "this body always answers"
    return answer


def view_of(row: Sequence[Any], system_identifier: int) -> View:
    """Return the View that VIEW_COLUMNS, or such as those, were read for."""
    timeline, started_at, branch, settled, waited_ms, longest_ms = row[:6]
    version, term, node, session, floor, known = row[6:12]
    return View(
        identity=Identity(
            system_identifier=system_identifier,
            timeline=timeline,
            started_at=started_at,
            branch=branch or "",
        ),
        settled=settled,
        # The rows were made at connect; they lack where somebody deleted them, or where a pooler
        # moved us to a server that lost them. Nothing can be taken there before they are made anew.
        token=TokenSeen(term=term or 0, node=node, session=session, term_floor=floor or 0),
        holder=None if known is None else replace(node_seen(row[12:20]), address=row[23] or ""),
        group_version=version or 0,
        longest_liveness_s=longest_ms / 1000,
        lacks_rows=version is None or term is None or branch is None,
        waited_s=waited_ms / 1000,
        copied=row[20],
        planned=planned_of(row[21]),
        operations=row[22],
    )


def watched(view: View) -> Params:
    """Return what a heartbeat has to know of the holder to ask whether its session lives."""
    assert view.holder is not None, "only a held token is watched"
    return {
        "holder": view.token.node,
        "holding": view.token.session,
        "holder_ms": round(1000 * view.holder.liveness_s),
    }


def node_seen(row: Sequence[Any]) -> NodeSeen:
    """Return the NodeSeen that NODE_COLUMNS were read for."""
    session, beat, liveness_ms, ended, age_s, heartbeat_ms, host, pid = row
    return NodeSeen(
        session=session,
        beat=beat,
        liveness_s=liveness_ms / 1000,
        ended=ended,
        age_s=age_s or 0.0,
        heartbeat_s=heartbeat_ms / 1000,
        where="" if host is None else f"{host}:{pid}",
    )

"""Facts for one scheduled run of a function of an application."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from coordinator.app.api.token import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """Facts for a run: its token, its slot, and when to stop.

    group, name:  of the coordinator, and of the function's schedule.
    node, term, session: of the holding; the term is the fencing token.
    scheduled_at: the slot, on the database's clock.
    count:        the number of this run in the whole group.
    token:        `token.check()` raises TokenLostError when it must not be acted on any more, and
                  `token.transaction()` commits only while it is held.
    stop_event:   set when the coordinator is told to stop, and when the token is lost.
    """

    group: str
    name: str
    node: str
    term: int
    session: str
    scheduled_at: datetime
    count: int
    token: Token
    stop_event: threading.Event

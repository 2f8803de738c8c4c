"""A simulated agent's connection to the database: what has come over it, and what has not yet."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.protocol.messages.requests import Beat, Request, View
from coordinator.protocol.node.state.last_seen import LastSeen


@dataclass(slots=True, eq=False)
class Line:
    """A connection.

    life: of the server that it was made to.
    seen: what the node knows over it (rule O6); one lent by a pooler passes no notification on.
    news: the server has notified, and that has not arrived yet.
    deaf: the server notifies it of nothing, and nobody knows: safe, only slow.
    """

    life: int
    seen: LastSeen
    news: bool = False
    deaf: bool = False

    def taken_as_known(self, request: Request) -> View | None:
        """Return the view whose holder alone a request watches; None: it reads everything."""
        if not isinstance(request, Beat):
            return None
        self.seen, view = self.seen.for_a_beat()
        return None if request.looks else view

    def notice(self) -> None:
        """Let the notification arrive that is on its way."""
        self.news, self.seen = False, self.seen.after_notification()

    def heard(self) -> bool:
        """Say whether a notification has arrived since this was asked last."""
        self.seen, heard = self.seen.hear()
        return heard


@dataclass(frozen=True, slots=True)
class Question:
    """A request under way; `known`: the view whose holder it watches."""

    number: int
    request: Request
    line: Line
    known: View | None
    sent_at: float

"""A simulated agent's connection to the database, kept as store/connection/postgres.py does."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.protocol.messages.requests import Beat, Request, View
from coordinator.store.node.heartbeat import LOOK_EVERY, LOOK_EVERY_OF_TASKS


@dataclass(slots=True, eq=False)
class Line:
    """A connection.

    life: of the server that it was made to.
    lent: by a pooler, which passes no notifications on.
    view: what was shown last, where a heartbeat may rest on it.
    news: the server has notified, and that has not arrived yet.
    due:  it would have arrived, but for an answer that was sent before it.
    deaf: the server notifies it of nothing, and nobody knows: safe, only slow.
    """

    life: int
    lent: bool
    view: View | None = None
    beats: int = 0
    news: bool = False
    due: bool = False
    deaf: bool = False
    hosts_tasks: bool = False

    def taken_as_known(self, request: Request) -> View | None:
        """Return the view that a heartbeat need not read again."""
        if not isinstance(request, Beat):
            return None
        self.beats += 1
        every = LOOK_EVERY_OF_TASKS if self.hosts_tasks else LOOK_EVERY
        return None if self.lent or self.beats % every == 0 else self.view


@dataclass(frozen=True, slots=True)
class Question:
    """A request under way; `known`: the view that it rests on."""

    number: int
    request: Request
    line: Line
    known: View | None
    sent_at: float

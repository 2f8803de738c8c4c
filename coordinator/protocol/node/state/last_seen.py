"""Heartbeats that check the holder's session only (docs/protocol.md, rule O6).

One value for each connection. The store uses it before each heartbeat, and updates it with each
answer and each notification. It counts heartbeats, and knows nothing of SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.protocol.messages.requests import View

#: A heartbeat that checks the holder only needs a second round trip when the holder's session is
#: over. So it requires that the last request took no more than this share of its time.
QUICK_SHARE = 1 / 4
#: One of this many heartbeats of a connection reads everything, even without a notification.
LOOK_EVERY = 20
#: The same in a group with tasks, where a change without a notification (made by hand, without
#: NOTIFY) concerns every node: each sees it after this many heartbeats at the latest.
LOOK_EVERY_OF_TASKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """The last view shown to a connection, for heartbeats that need not read it again.

    lent:     a pooler lends its sessions to the connection, which gets no notifications then.
    notified: the group was notified of a change, and the node has not been told yet.
    """

    lent: bool
    hosts_tasks: bool = False
    view: View | None = None
    beats: int = 0
    notified: bool = False

    def for_a_beat(self) -> tuple[LastSeen, View | None]:
        """Count a heartbeat; return the view if the heartbeat may check its holder only.

        None: the heartbeat must read everything.
        """
        counted = replace(self, beats=self.beats + 1)
        return counted, self.view if counted.may_watch() else None

    def may_watch(self) -> bool:
        """Say whether only the end of the holder's session can have been missed."""
        every = LOOK_EVERY_OF_TASKS if self.hosts_tasks else LOOK_EVERY
        if self.lent or self.notified or self.beats % every == 0:
            return False
        return self.view is not None and is_held(self.view)

    def after_answer(self, view: View, took_share: float) -> LastSeen:
        """Keep or drop the view of an answer; took_share: of the time that the request had."""
        keeps = took_share <= QUICK_SHARE and not self.notified
        return replace(self, view=view if keeps else None)

    def after_notification(self) -> LastSeen:
        """Note that the group was notified: the next heartbeat reads everything."""
        return replace(self, notified=True, view=None)

    def hear(self) -> tuple[LastSeen, bool]:
        """Say whether the group was notified since the node was last told."""
        return (replace(self, notified=False), True) if self.notified else (self, False)


def is_held(view: View) -> bool:
    """Say whether only the holder's heartbeats are expected to change in a view."""
    holder = view.holder
    return (
        view.settled
        and holder is not None
        and not holder.ended
        and holder.session == view.token.session
    )


def seen_again(view: View, beat: int, age_s: float | None) -> View:
    """Return the view with a new heartbeat of the holder, whose session lives."""
    assert view.holder is not None, "only a held token is known"
    return replace(view, holder=replace(view.holder, beat=beat, age_s=max(0.0, age_s or 0.0)))

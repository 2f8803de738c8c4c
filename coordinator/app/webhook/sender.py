"""Sender of a group's events to its webhook: in order, at least once, one at a time.

Each turn is: claim, send, mark; the mark follows the answer, so what is sent twice is sent again
rather than lost. A failed delivery holds up those behind it, and is tried again after a pause that
doubles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from coordinator.ports import Clock
from coordinator.store.webhook.deliveries import Claim
from coordinator.web.webhook.payload import Event
from coordinator.web.webhook.post import NotDeliveredError

#: Pauses after a failed delivery, in seconds: the first, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
#: New events are seen after so many seconds where no notification comes: behind a pooler.
POLL_S = 5.0


class Marks(Protocol):
    """Marks of the deliveries, as the database keeps them."""

    def claim(self) -> Claim:
        """Claim the group, and return what is to be delivered next."""
        ...

    def delivered(self, event: int, *, more: bool) -> bool:
        """Move the mark behind an event; false: another sender has claimed the group."""
        ...

    def failed(self, error: str, wait_s: float) -> None:
        """Note why a delivery has failed, and that it is tried again in wait_s."""
        ...


def pause_s(failed: int) -> float:
    """Return the pause after so many failed deliveries in a row."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failed - 1, 30))


class Sender:
    """One sender.

    send: delivers an event at a moment in seconds since 1970, or raises NotDeliveredError.
    say: takes the name of an event and a line for the log: at the first failure, at each longest
         pause, and at the end.
    """

    def __init__(
        self,
        marks: Marks,
        send: Callable[[Event, int], None],
        say: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        self._marks, self._send, self._say, self._clock = marks, send, say, clock

    def turn(self) -> float | None:
        """Deliver what can be delivered; return the pause before the next turn.

        None: this node does not send any more. 0.0: there may be more.
        Errors: CoordError.
        """
        asked_at = self._clock.now()
        claim = self._marks.claim()
        match claim.state:
            case "ended":
                return None
            case "other" | "waiting":
                return min(claim.wait_s, POLL_S)
            case "idle":
                return POLL_S
            case _:
                return self._deliver(claim, asked_at)

    def _deliver(self, claim: Claim, asked_at: float) -> float:
        failed, last = claim.failed, claim.events[-1]
        for event in claim.events:
            try:
                self._send(event, int(claim.now_s + self._clock.now() - asked_at))
            except NotDeliveredError as error:
                return self._failed(failed + 1, str(error))
            if failed:
                text = f"the webhook takes events again, after {failed} failed deliveries"
                self._say("webhook-again", text)
                failed = 0
            if not self._marks.delivered(event["id"], more=event is not last):
                return 0.0  # the other sender delivers it once more
        return 0.0

    def _failed(self, failed: int, error: str) -> float:
        wait_s = pause_s(failed)
        self._marks.failed(error, wait_s)
        if failed == 1 or wait_s == LONGEST_PAUSE_S:
            times = "" if failed == 1 else f" ({failed} times)"
            text = f"the webhook {error}{times}: events wait, the next try is in {wait_s:g} s"
            self._say("webhook-late", text)
        return min(wait_s, POLL_S)

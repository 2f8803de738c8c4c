"""First connection of a session: it is tried for as long as somebody waits for a token."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Set
from typing import Protocol

from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.ports import Clock, Store, StoreConnection

#: Time limit of one try.
TRY_S = 5.0
#: End of a wait without a limit: it is refused after one whole try.
NO_LIMIT = float("-inf")


class Waiting(Protocol):
    """A wait for a token, as the first connection sees it.

    until: own clock: when its time is over. NO_LIMIT where the caller has set none: a wrong address
    is told after one try, instead of being tried for ever.
    """

    until: float

    def refused(self, refusal: CoordError) -> None:
        """Take the reason why there is no token."""
        ...


def first_connection(
    store: Store,
    clock: Clock,
    waiting: Mapping[int, Waiting],
    closing: threading.Event,
    pause_s: float,
    over: Callable[[CoordError, Set[int]], bool],
) -> StoreConnection:
    """Connect; while nobody answers, try again until the time of the last wait is over.

    waiting: by number; others may come meanwhile, and stay in it after they were refused.
    closing: ends it.
    over: refuses whatever comes from now on, if these waits are all there are.
    Errors: DatabaseUnreachableError when no wait is left; what `store.connect` raises for good.
    """
    ended: set[int] = set()
    while True:
        try:
            return store.connect(min(TRY_S, max(0.0, _next_end(waiting, ended) - clock.now())))
        except DatabaseUnreachableError as error:
            now = clock.now()
            these = {number for number, wait in tuple(waiting.items()) if wait.until <= now}
            if over(error, these):
                raise
            for number in these - ended:
                waiting[number].refused(error)
            ended |= these
            if closing.wait(min(pause_s, max(0.0, _next_end(waiting, ended) - now))):
                raise


def _next_end(waiting: Mapping[int, Waiting], ended: Set[int]) -> float:
    """Return when the time of the next wait is over."""
    ends = [wait.until for number, wait in tuple(waiting.items()) if number not in ended]
    return min((end for end in ends if end != NO_LIMIT), default=float("inf"))

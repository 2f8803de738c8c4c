"""Wait of a thread or a task for a token, and at the end for its release."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from coordinator.app.api.first_connection import NO_LIMIT
from coordinator.errors import (
    ConfigError,
    CoordError,
    DatabaseUnreachableError,
    TokenHeldError,
)
from coordinator.protocol.holders.events import Refuse, Why
from coordinator.runtime.holders.holding import Holding

T = TypeVar("T")
#: Answer to a wait: its holding, or the error that explains why there is none.
Answer = Holding | CoordError

#: Time that the end of a block may wait until the database has acknowledged the release.
RELEASE_MAX_S = 5.0


class ThreadWait:
    """Wait of a thread.

    number: of the wait in its session; None before it was asked for.
    holding: None before the grant.
    until: own clock: when the first connection is given up; see `first_connection`.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.until = NO_LIMIT
        self.holding: Holding | None = None
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._released = threading.Event()

    def wait(self) -> Holding:
        """Block until there is an answer; return the holding.

        Errors: the error that explains why there is none.
        """
        return _granted(self._answers.get())

    def wait_for_release(self) -> None:
        """Block until the token is held no more, for RELEASE_MAX_S at most."""
        self._released.wait(RELEASE_MAX_S)

    def interrupt(self, error: CoordError) -> None:
        """End `wait` with an error; the wait itself is still to be given up (any thread)."""
        self._answers.put(error)

    def granted(self, holding: Holding) -> bool:
        """Take the holding (called by the loop)."""
        self.holding = holding
        self._answers.put(holding)
        return True

    def refused(self, refusal: Refuse | CoordError) -> None:
        """Take the reason why there is no token (called by the loop)."""
        self._answers.put(error_of(refusal))
        self._released.set()

    def given_back(self) -> None:
        """Hear that the token is held no more (called by the loop)."""
        self._released.set()

    def abandoned(self) -> bool:
        """Return False: a thread fetches what it waits for."""
        return False


class TaskWait:
    """Wait of a task of an event loop; nothing of it waits in an executor.

    number, holding, until: as for a thread.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.until = NO_LIMIT
        self.holding: Holding | None = None
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Answer] = self._loop.create_future()
        self._released: asyncio.Future[None] = self._loop.create_future()

    async def wait(self) -> Holding:
        """Wait for the answer; return the holding.

        Errors: the error that explains why there is none.
        """
        return _granted(await self._answer)

    async def wait_for_release(self) -> None:
        """Wait until the token is held no more, for RELEASE_MAX_S at most."""
        await asyncio.wait((self._released,), timeout=RELEASE_MAX_S)

    def granted(self, holding: Holding) -> bool:
        """Take the holding (called by the session's thread); False when the loop is closed."""
        self.holding = holding
        return self._tell(self._answer, holding)

    def refused(self, refusal: Refuse | CoordError) -> None:
        """Take the reason why there is no token (called by the session's thread)."""
        self._tell(self._answer, error_of(refusal))
        self._tell(self._released, None)

    def given_back(self) -> None:
        """Hear that the token is held no more (called by the session's thread)."""
        self._tell(self._released, None)

    def abandoned(self) -> bool:
        """Say whether the event loop is closed: what it had not passed on, nobody fetches."""
        return self._loop.is_closed()

    def _tell(self, future: asyncio.Future[T], value: T) -> bool:
        def resolve() -> None:
            if not future.done():
                future.set_result(value)

        try:
            self._loop.call_soon_threadsafe(resolve)
        except RuntimeError:
            return False  # the event loop is closed: nobody can fetch it
        return True


Wait = ThreadWait | TaskWait

_ERRORS: dict[Why, Callable[[str], CoordError]] = {
    Why.HELD: TokenHeldError,
    Why.UNREACHABLE: DatabaseUnreachableError,
    Why.IS_TASK: ConfigError,
    Why.CLOSED: CoordError,
}


def error_of(refusal: Refuse | CoordError) -> CoordError:
    """Return a refusal as the error that a caller reads."""
    return refusal if isinstance(refusal, CoordError) else _ERRORS[refusal.why](refusal.text)


def _granted(answer: Answer) -> Holding:
    if isinstance(answer, CoordError):
        raise answer
    return answer

"""A ProgramPort for code in this process: cooperative, because a thread cannot be killed.

The guarded code is the body of a `with`. Losing the token cannot stop it: `Token.check` raises
from then on, the `on_lost` callbacks run, and the node releases only when the body has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from coordinator.ports import Clock
from coordinator.protocol.node.events import (
    Event,
    ExtendTrust,
    KillProgram,
    ProgramEnded,
    ProgramRefused,
    StartProgram,
    StopAsked,
    StopProgram,
)
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules.trust import expired
from coordinator.runtime.holders.holding import Holding


class LocalProgram:
    """Hands one Holding to the waiting code, and takes it back.

    granted: called with the holding in the node's thread; must not block.
    """

    def __init__(self, clock: Clock, granted: Callable[[Holding], None]) -> None:
        self._clock, self._granted = clock, granted
        self._lock = threading.Lock()
        self._post: Callable[[Event], None] | None = None
        self._wanted = True
        self._holding: Holding | None = None

    def attach(self, post: Callable[[Event], None]) -> bool:
        """Connect to the node's inbox; false when the token is no longer wanted."""
        with self._lock:
            self._post = post
            return self._wanted

    def give_back(self) -> None:
        """End the holding, granted or still to come, and the node; callable from any thread.

        A grant that is under way is refused by `start`, in the node's own thread. So a token is
        never held for code that no longer waits for it.
        """
        with self._lock:
            first, self._wanted = self._wanted, False
            post, holding = self._post, self._holding
        if not first:
            return
        if holding is not None:
            holding.given_back()
        if post is None:
            return
        now = self._clock.now()
        post(StopAsked(now, "the block ended"))
        if holding is not None:
            post(ProgramEnded(now, holding.run, 0, "itself"))

    def abandon(self, reason: str) -> None:
        """Tell the code that its node has ended, for whatever reason."""
        if self._holding is not None:
            self._holding.lost(reason)

    def start(self, command: StartProgram, node: Node) -> ProgramRefused | None:
        """Grant the token to the code that waits for it; refuse when it no longer waits."""
        holding = Holding(
            self._clock,
            group=node.policy.group,
            node=node.policy.node,
            term=command.term,
            session=node.session or "",
            run=command.run,
            trusted_until=command.trusted_until,
        )
        with self._lock:
            if not self._wanted:
                return ProgramRefused(self._clock.now(), command.run, "nobody waits for it", 0)
            self._holding = holding
        self._granted(holding)
        return None

    def extend(self, command: ExtendTrust) -> None:
        """Move the holding's deadline."""
        if self._holding is not None and self._holding.run == command.run:
            self._holding.extended(command.trusted_until)

    def stop(self, command: StopProgram) -> None:
        """Tell the code that it has lost the token."""
        self._end(command.run, command.reason)

    def kill(self, command: KillProgram) -> None:
        """Tell the code that it has lost the token: a thread cannot be killed."""
        self._end(command.run, command.reason)

    def _end(self, run: int, reason: str) -> None:
        if self._holding is not None and self._holding.run == run:
            self._holding.lost(reason)

    def fileno(self) -> int | None:
        """Return None: events come through the inbox."""
        return None

    def events(self) -> Iterable[Event]:
        """Return no events: they come through the inbox."""
        return ()

    def tick(self, now: float) -> tuple[float, Iterable[Event]]:
        """Tell the code when trust has run out."""
        holding = self._holding
        if holding is None:
            return float("inf"), ()
        if expired(holding.trusted_until, now):
            holding.lost("no heartbeat was acknowledged in time")
            return float("inf"), ()
        return holding.trusted_until, ()

    def changed(self, node: Node) -> None:
        """Do nothing: this port does not depend on the node's state."""

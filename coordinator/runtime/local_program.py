"""A ProgramPort for code that runs in this very process: cooperative, nothing can be killed.

The guarded code is the body of a `with`. Losing the token cannot stop it: `Token.check` raises
from then on, the `on_lost` callbacks run, and the node joins again only when the body has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from coordinator.errors import TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.events import (
    Event,
    ExtendTrust,
    KillProgram,
    ProgramEnded,
    ProgramRefused,
    StartProgram,
    StopProgram,
)
from coordinator.protocol.node import Node
from coordinator.protocol.trust import expired

OnLost = Callable[[str], None]


class Holding:
    """One holding of a token by code in this process.

    Attributes: group and node (names), term (rises with every holding: the fencing token),
    session (uuid; with the term it tells two holders apart even when terms were lost).
    """

    def __init__(self, clock: Clock, node: Node, command: StartProgram) -> None:
        self.group = node.policy.group
        self.node = node.policy.node
        self.term = command.term
        self.session = node.session or ""
        self.run = command.run
        self._clock = clock
        self._trusted_until = command.trusted_until
        self._lock = threading.Lock()
        self._lost = ""
        self._callbacks: list[OnLost] = []

    @property
    def trusted_until(self) -> float:
        """The moment on this machine's CLOCK_BOOTTIME after which nothing may be done."""
        return self._trusted_until

    @property
    def seconds_left(self) -> float:
        """How long the holding may still be trusted; below zero when it is over."""
        return -1.0 if self._lost else self._trusted_until - self._clock.now()

    def is_held(self) -> bool:
        """Say whether the token may be acted on at this moment: a comparison, never a flag."""
        return not self._lost and not expired(self._trusted_until, self._clock.now())

    def check(self) -> None:
        """Return when the token is held at this moment.

        Errors: TokenLostError otherwise. A process can still be paused between this check and
        what follows it: only a fenced write is safe against that.
        """
        if not self.is_held():
            why = self._lost or "no heartbeat was acknowledged in time"
            raise TokenLostError(f"the token of {self.group} (term {self.term}) is lost: {why}")

    def on_lost(self, callback: OnLost) -> None:
        """Call back with the reason when the token is lost; at once when it already is.

        The callback runs on the node's own thread: it must be short and must not block.
        """
        with self._lock:
            if not self._lost:
                self._callbacks.append(callback)
                return
        callback(self._lost)

    def extended(self, trusted_until: float) -> None:
        """Move the deadline (called by the node)."""
        self._trusted_until = trusted_until

    def lost(self, reason: str) -> None:
        """End the holding (called by the node)."""
        with self._lock:
            if self._lost:
                return
            self._lost = reason
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(reason)


class LocalProgram:
    """Hands a Holding to the waiting code, and takes it back."""

    def __init__(self, clock: Clock, granted: Callable[[Holding], None]) -> None:
        self._clock, self._granted = clock, granted
        self._holding: Holding | None = None

    def start(self, command: StartProgram, node: Node) -> ProgramRefused | None:
        """Grant the token to the code that waits for it."""
        self._holding = Holding(self._clock, node, command)
        self._granted(self._holding)
        return None

    def extend(self, command: ExtendTrust) -> None:
        """Move the holding's deadline."""
        if self._holding is not None and self._holding.run == command.run:
            self._holding.extended(command.trusted_until)

    def stop(self, command: StopProgram) -> None:
        """Tell the code that it has lost the token."""
        self._end(command.run, command.reason)

    def kill(self, command: KillProgram) -> None:
        """Tell the code that it has lost the token: more cannot be done to a thread."""
        self._end(command.run, command.reason)

    def _end(self, run: int, reason: str) -> None:
        if self._holding is not None and self._holding.run == run:
            self._holding.lost(reason)

    def ended(self, holding: Holding) -> Event:
        """Return the event that the guarded code has ended."""
        return ProgramEnded(self._clock.now(), holding.run, 0, "itself")

    def fileno(self) -> int | None:
        """There is nothing to wait on: what happens comes through the inbox."""
        return None

    def events(self) -> Iterable[Event]:
        """Nothing comes this way."""
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
        """Nothing depends on it here."""

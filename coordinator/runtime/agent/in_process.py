"""A ProgramPort for code in this process: cooperative, because a thread cannot be killed.

The guarded code is the body of a `with`. Losing the token cannot stop it: `Token.check` raises
from then on, the `on_lost` callbacks run, and the node releases only when the body has ended.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable

from coordinator.errors import TokenLostError
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
from coordinator.runtime.log.logger import LOGGER

OnLost = Callable[[str], None]

_logger = logging.getLogger(LOGGER)


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
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._lost = ""
        self._callbacks: list[OnLost] = []

    @property
    def trusted_until(self) -> float:
        """Moment of this machine's CLOCK_BOOTTIME after which the token must not be acted on."""
        return self._trusted_until

    @property
    def seconds_left(self) -> float:
        """Seconds for which the holding may still be trusted; negative when it is over."""
        return -1.0 if self._over() else self._trusted_until - self._clock.now()

    def is_held(self) -> bool:
        """Say whether the token may be acted on at this moment, by comparing clocks."""
        return not self._over() and not expired(self._trusted_until, self._clock.now())

    def check(self) -> None:
        """Return when the token is held at this moment.

        Errors: TokenLostError otherwise. The process can still be paused between this check and the
        code after it: only a fenced write is safe against that.
        """
        if not self.is_held():
            why = self._over() or "no heartbeat was acknowledged in time"
            raise TokenLostError(f"the token of {self.group} (term {self.term}) is lost: {why}")

    def on_lost(self, callback: OnLost) -> None:
        """Call back with the reason when the token is lost; at once when it already is.

        The callback runs on the node's own thread: it must be short and must not block. Exceptions
        that it raises are logged.
        """
        # Checked first: a lock may have been held at the moment of a fork, and stay locked.
        if not self._is_forked():
            with self._lock:
                if not self._lost:
                    self._callbacks.append(callback)
                    return
        callback(self._over())

    def _over(self) -> str:
        """Return why the holding is over, if that has been reported; empty otherwise."""
        if self._is_forked():
            return "this process is a fork of the one that holds it"
        return self._lost

    def _is_forked(self) -> bool:
        """Say whether this is a forked copy: trust is not renewed there, nor a loss reported."""
        return os.getpid() != self._pid

    def extended(self, trusted_until: float) -> None:
        """Move the deadline (called by the node)."""
        self._trusted_until = trusted_until

    def given_back(self) -> None:
        """End the holding without a loss: no callback is called."""
        self._end("it was given back")

    def lost(self, reason: str) -> None:
        """End the holding and call back (called by the node)."""
        for callback in self._end(reason):
            try:
                callback(reason)
            except BaseException:  # user code; the next callback may be the one that stops the work
                _logger.exception(
                    "an on_lost callback of the token of %s (term %d) raised", self.group, self.term
                )

    def _end(self, reason: str) -> list[OnLost]:
        """Note why the holding is over, unless it already is; return the callbacks."""
        with self._lock:
            if self._lost:
                return []
            self._lost = reason
            callbacks, self._callbacks = self._callbacks, []
        return callbacks


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
        holding = Holding(self._clock, node, command)
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
